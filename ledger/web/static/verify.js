"use strict";
// Holds a log to its signatures and proofs, by C2SP signed-note, tlog-checkpoint,
// tlog-cosignature and tlog-policy, and by RFC 9162. Reads neither page nor network.
// What is malformed throws; else there is a state, of which only "ok" is a yes.
const cairn = (() => {
const glyphs = { ok: "✓", bad: "✗", unknown: "?", absent: "·" };
const utf8 = (text) => new TextEncoder().encode(text);
const hex = (bytes) => Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
const same = (a, b) => hex(a) === hex(b);
const fail = (why) => { throw new Error(why); };

// worst is "ok" only if there is something, and all of it is.
const worst = (states) => states.includes("bad") ? "bad" : states[0] && states.every((s) => s === "ok") ? "ok" : "unknown";

// base64 takes the one spelling that bytes have.
function base64(text) {
	let bytes = "";
	try { bytes = atob(text); } catch { /* compared below */ }
	if (btoa(bytes) !== text) fail(`no base64: ${text}`);
	return Uint8Array.from(bytes, (c) => c.charCodeAt(0));
}

const sha256 = async (...parts) =>
	new Uint8Array(await crypto.subtle.digest("SHA-256", new Uint8Array(parts.flatMap((p) => [...p]))));
const leafHash = (leaf) => sha256([0], utf8(leaf));
const nodeHash = (left, right) => sha256([1], left, right);

// unable says why this browser cannot check, or nothing.
async function unable() {
	if (!globalThis.crypto?.subtle) return "a browser checks only what came by https, or from localhost";
	return crypto.subtle.generateKey("Ed25519", false, ["sign", "verify"]).then(() => "",
		() => "this browser has no Ed25519; Firefox 129, Safari 17 and Chrome 137 have");
}

// open reads a signed checkpoint, and verifies nothing.
function open(signed) {
	const end = signed.lastIndexOf("\n\n") + 1, text = signed.slice(0, end), lines = signed.slice(end + 1).split("\n");
	if (!end || lines.pop() || lines.length > 100 || /[\0-\t\v-\x1f\p{Surrogate}]/u.test(signed)) fail("no signed note");
	const sigs = lines.map((line) => {
		const [, name, b64] = /^— ([^\p{White_Space}+]+) (.+)$/u.exec(line) ?? fail("malformed signature line");
		const bytes = base64(b64);
		if (bytes.length < 5) fail("malformed signature");
		return { name, id: hex(bytes.slice(0, 4)), sig: bytes.slice(4) };
	});
	const [, origin, digits, b64] = /^(.+)\n(0|[1-9]\d*)\n(.*)\n([^\n]+\n)*$/.exec(text) ?? fail("malformed checkpoint");
	const size = BigInt(digits), root = base64(b64);
	if (!sigs.length || size >> 63n || root.length !== 32) fail("malformed checkpoint");
	return { text, origin, size, root, sigs };
}

// key reads a verifier key: name+id+base64 of type and public key.
async function key(vkey, as) {
	const [, name, id, b64] = /^(.+)\+([0-9a-f]{8})\+(.+)$/.exec(vkey) ?? fail(`malformed key ${vkey}`);
	const bytes = base64(b64);
	if (hex((await sha256(utf8(name + "\n"), bytes)).slice(0, 4)) !== id) fail(`key with a wrong id: ${vkey}`);
	return { vkey, as: as ?? name, name, id, type: bytes[0], bytes: bytes.slice(1) };
}

// signature says whether a key signed. Type 1 is a log's, 4 a witness's.
async function signature(k, type, c) {
	let { text } = c, { sig } = c.sigs.find((s) => s.name === k.name && s.id === k.id) ?? {}, when = "";
	if (!sig) return { state: "absent", why: "has not signed" };
	if (k.type !== type) return { state: "unknown", why: `this browser cannot check keys of type ${k.type}` };
	if (type === 4 && sig.length === 72) {
		const time = new DataView(sig.buffer).getBigUint64(0);
		text = `cosignature/v1\ntime ${time}\n${text}`;
		sig = sig.slice(8);
		if (time < 1n << 37n) when = " at " + new Date(Number(time) * 1000).toISOString();
	}
	const ok = await crypto.subtle.importKey("raw", k.bytes, "Ed25519", false, ["verify"])
		.then((pub) => crypto.subtle.verify("Ed25519", pub, sig, utf8(text))).catch(() => false);
	return ok ? { state: "ok", why: "signed" + when } : { state: "bad", why: "wrong signature" };
}

// policy reads lines log, witness, group and quorum. There may be no others.
async function policy(text) {
	const p = { logs: [], witnesses: [], named: new Map() };
	for (const line of text.split("\n")) {
		const [word, a, b, ...more] = line.split(/[ \t]+/).filter(Boolean);
		const isNew = a !== "none" && !p.named.has(a);
		if (!word || word[0] === "#") continue;
		if (word === "log" && a) p.logs.push(await key(a));
		else if (word === "witness" && b && isNew) {
			const k = await key(b, a);
			p.witnesses.push(k);
			p.named.set(a, k);
		} else if (word === "group" && more[0] && isNew) {
			const k = b === "all" ? more.length : b === "any" ? 1 : Number(b);
			if (!(k >= 1 && k <= more.length && new Set(more).size === more.length && more.every((m) => p.named.has(m)))) fail(`policy: ${line}`);
			p.named.set(a, { k, members: more });
		} else if (word === "quorum" && !p.quorum && (a === "none" || p.named.has(a))) p.quorum = a;
		else fail(`policy: ${line}`);
	}
	return p.quorum ? p : fail("policy without quorum");
}

// quorum is {state, why} of a name of a policy whose witnesses have states.
function quorum(p, name) {
	if (name === "none") return { state: "ok", why: "none: no witness is asked for" };
	const { as, k, members, state } = p.named.get(name);
	if (!members) return { state, why: `${as} ${glyphs[state]}` };
	const all = members.map((m) => quorum(p, m)), count = (...states) => all.filter((m) => states.includes(m.state)).length;
	return {
		state: count("ok") >= k ? "ok" : count("ok", "unknown") >= k ? "unknown" : "absent",
		why: `${k} of (${all.map((m) => m.why).join(", ")})`,
	};
}

// check holds a signed checkpoint to a policy. Its steps are {state, text}; whether
// it matters that a witness has not signed is for the quorum to say.
async function check(signed, policyText) {
	const steps = [], step = (state, text) => steps.push({ state, text });
	try {
		const c = open(signed), why = await unable();
		if (why) return { ...c, state: "unknown", why, steps };
		const p = await policy(policyText);
		for (const k of p.logs) Object.assign(k, await signature(k, 1, c));
		for (const k of p.witnesses) Object.assign(k, await signature(k, 4, c));
		const wrong = [...p.logs, ...p.witnesses].find((k) => k.state === "bad");
		const log = p.logs.find((k) => k.name === c.origin && k.state !== "absent") ?? { state: "bad", why: "no log of the policy signed" };
		step(log.state, `log ${c.origin}: ${log.why}`);
		for (const k of p.witnesses) step(k.state, `witness ${k.as}: ${k.why}`);
		const q = quorum(p, p.quorum);
		step(q.state === "absent" ? "bad" : q.state, `quorum ${q.why}`);
		const states = [log.state, steps.at(-1).state, ...(wrong ? ["bad"] : [])], state = worst(states);
		return { ...c, state, why: wrong ? `${wrong.as}: ${wrong.why}` : steps.find((s) => s.state === state).text, steps, vkey: log.vkey };
	} catch (e) {
		step("bad", e.message);
		return { state: "bad", why: e.message, steps };
	}
}

// climb goes from a node to the root. Each step is {left, right, hash}, and old: the
// hash in the tree that has nothing to the right of the node.
async function climb(at, last, seed, path, root, oldRoot) {
	const steps = [];
	let now = seed, old = seed, why = "";
	for (const p of path) {
		if (!last) why = "the proof is too long";
		const onRight = at & 1n || at === last, [left, right] = onRight ? [p, now] : [now, p];
		now = await nodeHash(left, right);
		if (onRight) old = await nodeHash(p, old);
		steps.push({ left, right, hash: now, old });
		while (onRight && at && !(at & 1n)) at >>= 1n, last >>= 1n;
		at >>= 1n, last >>= 1n;
	}
	if (last) why = "the proof is too short";
	if (!same(now, root) || oldRoot && !same(old, oldRoot)) why ||= "the proof leads to another root";
	return { state: why ? "bad" : "ok", why, steps };
}

// inclusion and consistency are {state, why, steps}; sizes are BigInt.
async function inclusion(leaf, index, size, path, root) {
	if (index < 0n || index >= size) return { state: "bad", why: "not in the tree", steps: [] };
	return climb(index, size - 1n, leaf, path, root);
}

async function consistency(from, to, proof, fromRoot, toRoot) {
	const bad = (why) => ({ state: why ? "bad" : "ok", why, steps: [] });
	if (from > to) return bad("the log is shorter");
	if (from === to && !same(fromRoot, toRoot)) return bad("another root for the same size");
	if (from === to || !from) return bad(proof.length ? "the proof is too long" : "");
	let at = from - 1n, last = to - 1n;
	while (at & 1n) at >>= 1n, last >>= 1n;
	const [seed, ...path] = at ? proof : [fromRoot, ...proof];
	return seed ? climb(at, last, seed, path, toRoot, fromRoot) : bad("the proof is too short");
}

return { glyphs, hex, same, worst, base64, sha256, leafHash, unable, open, check, inclusion, consistency };
})();
