"use strict";
// Holds a log to C2SP signed-note, tlog-checkpoint, tlog-cosignature and tlog-policy,
// and to RFC 9162. Only the state "ok" is a yes.
const cairn = (() => {
const glyphs = { ok: "✓", bad: "✗", unknown: "?", absent: "·" };
const hex = (bytes) => Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
const same = (a, b) => hex(a) === hex(b);
const fail = (why, state = "bad") => { throw Object.assign(new Error(why), { state, why }); };

// worst is "ok" only if all are, and some.
const worst = (all) => all.includes("bad") ? "bad" : all[0] && all.every((s) => s === "ok") ? "ok" : "unknown";

function base64(text) {
	let bytes = "";
	try { bytes = atob(text); } catch {}
	if (btoa(bytes) !== text) fail("malformed base64");
	return Uint8Array.from(bytes, (c) => c.charCodeAt(0));
}

const sha256 = async (...parts) => new Uint8Array(await crypto.subtle.digest("SHA-256", await new Blob(parts).arrayBuffer()));
const leafHash = (leaf) => sha256("\0", leaf);
const nodeHash = (left, right) => sha256("\x01", left, right);

async function able() {
	if (!globalThis.crypto?.subtle) fail("browsers check only what came by https, or from localhost", "unknown");
	await crypto.subtle.generateKey("Ed25519", false, ["sign", "verify"])
		.catch(() => fail("Ed25519 needs Firefox 129, Safari 17 or Chrome 137", "unknown"));
}

// open verifies nothing.
function open(signed) {
	const end = signed.lastIndexOf("\n\n") + 1, text = signed.slice(0, end);
	const lines = signed.slice(end + 1).split("\n");
	const [, origin, size, root] = /^(.+)\n(0|[1-9]\d*)\n(.*)\n([^\n]+\n)*$/.exec(text) ?? fail("malformed checkpoint");
	const c = { text, origin, size: BigInt(size), root: base64(root), sigs: [] };
	if (lines.pop() || !lines[0] || lines[100] || c.size >> 63n || c.root.length !== 32 || /[\0-\t\v-\x1f\p{Surrogate}]/u.test(signed))
		fail("malformed checkpoint");
	for (const line of lines) {
		const [, name, b64] = /^— ([^\p{White_Space}+]+) (.{7,})$/u.exec(line) ?? fail("malformed signature");
		const sig = base64(b64);
		c.sigs.push({ name, id: hex(sig.slice(0, 4)), sig: sig.slice(4) });
	}
	return c;
}

// key reads name+id+base64 of type and public key.
async function key(vkey, as, want) {
	const [, name, id, b64] = /^(.+)\+([0-9a-f]{8})\+(.+)$/.exec(vkey) ?? fail("malformed key");
	const bytes = base64(b64);
	if (hex(await sha256(name + "\n", bytes)).slice(0, 8) !== id) fail("malformed key");
	return { vkey, as, want, name, id, type: bytes[0], bytes: bytes.slice(1) };
}

async function signature(k, { sigs, text }) {
	let { sig } = sigs.find((s) => s.name === k.name && s.id === k.id) ?? {}, when = "";
	if (!sig) return ["absent", "has not signed"];
	if (k.type !== k.want) return ["unknown", `this browser cannot check type ${k.type}`];
	if (k.type === 4 && sig.length === 72) {
		const time = new DataView(sig.buffer).getBigUint64(0);
		text = `cosignature/v1\ntime ${time}\n${text}`;
		sig = sig.slice(8);
		when = " at " + new Date(Number(time) * 1000).toJSON();
	}
	const ok = await crypto.subtle.importKey("raw", k.bytes, "Ed25519", false, ["verify"])
		.then((pub) => crypto.subtle.verify("Ed25519", pub, sig, new TextEncoder().encode(text))).catch(() => false);
	return ok ? ["ok", "signed" + when] : ["bad", "wrong signature"];
}

async function policy(text) {
	const p = { logs: [], named: new Map() };
	for (const line of text.split("\n")) {
		const [word, name, arg, ...more] = line.split(/[ \t]+/).filter(Boolean);
		if (!word || word[0] === "#") continue;
		const known = name === "none" || p.named.has(name);
		if (word === "log") p.logs.push(await key(name, "log", 1)); // Ed25519
		else if (word === "quorum" && known && !p.quorum) p.quorum = name;
		else if (word === "witness" && !known) p.named.set(name, await key(arg, "witness " + name, 4)); // cosignature/v1
		else if (word === "group" && !known && more.every((m) => p.named.has(m))) {
			const k = arg === "all" ? more.length : arg === "any" ? 1 : Number(arg), members = new Set(more);
			p.named.set(name, k >= 1 && k <= members.size ? { k, members: [...members] } : fail(`policy: ${line}`));
		} else fail(`policy: ${line}`);
	}
	return p.quorum ? p : fail("policy: no quorum");
}

function quorum(p, name) {
	if (name === "none") return ["ok", "none is asked for"];
	const { k, members, state } = p.named.get(name);
	if (!members) return [state, `${name} ${glyphs[state]}`];
	const all = members.map((m) => quorum(p, m)), count = (...states) => all.filter(([s]) => states.includes(s)).length;
	return [count("ok") >= k ? "ok" : count("ok", "unknown") >= k ? "unknown" : "bad", `${k} of (${all.map(([, text]) => text).join(", ")})`];
}

// check holds a signed checkpoint to a policy, by steps {state, text}. Whether it matters
// who has not signed, the quorum says.
async function check(signed, policyText) {
	const steps = [];
	try {
		const c = open(signed), p = await policy(policyText);
		for (const k of [...p.logs, ...p.named.values()].filter((k) => k.vkey)) {
			const [state, why] = await signature(k, c);
			k.state = state;
			steps.push({ state, text: `${k.as}: ${why}` });
		}
		const [met, text] = quorum(p, p.quorum), log = p.logs.find((k) => k.name === c.origin && k.state !== "absent");
		steps.push({ state: met === "absent" ? "bad" : met, text: "quorum: " + text });
		if (!log) fail("no log of the policy signed");
		const state = steps.some((s) => s.state === "bad") ? "bad" : worst([log.state, met]);
		return { ...c, state, why: steps.find((s) => s.state === state).text, steps, vkey: log.vkey };
	} catch ({ state = "unknown", message: why }) {
		steps.push({ state, text: why });
		return { state, why, steps };
	}
}

// climb goes from a node to the root; old is the hash without what is to its right.
async function climb(at, last, seed, path, root, oldRoot) {
	const steps = [];
	let hash = seed, old = seed, tooLong = false;
	for (const p of path) {
		tooLong ||= !last;
		const onRight = at & 1n || at === last, [left, right] = onRight ? [p, hash] : [hash, p];
		hash = await nodeHash(left, right);
		if (onRight) old = await nodeHash(p, old);
		steps.push({ left, right, hash });
		while (onRight && at && !(at & 1n)) at >>= 1n, last >>= 1n;
		at >>= 1n, last >>= 1n;
	}
	return result(!tooLong && !last && same(hash, root) && same(old, oldRoot ?? old), steps);
}
const result = (ok, steps = []) => ({ state: ok ? "ok" : "bad", why: ok ? "" : "the proof does not lead to the root", steps });

const inclusion = async (leaf, index, size, path, root) =>
	index < size ? climb(index, size - 1n, leaf, path, root) : result(false);

async function consistency(from, to, proof, fromRoot, toRoot) {
	if (from === to || !from) return result(!proof[0] && (!from || same(fromRoot, toRoot)));
	let at = from - 1n, last = to - 1n;
	while (at & 1n) at >>= 1n, last >>= 1n;
	const [seed, ...path] = at ? proof : [fromRoot, ...proof];
	return from < to && seed ? climb(at, last, seed, path, toRoot, fromRoot) : result(false);
}

return { able, glyphs, hex, same, fail, worst, base64, sha256, leafHash, open, check, inclusion, consistency };
})();
