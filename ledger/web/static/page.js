"use strict";
// What pages do in a browser: check what the server sent, and remember it.
{
const { glyphs, hex, base64, check, open, worst } = cairn;
const all = (css, of = document) => [...of.querySelectorAll(css)];
const byId = (id) => document.getElementById(id);
const data = (id) => JSON.parse(byId(id)?.textContent ?? "{}");
const frame = data("frame-data"), entry = data("entry-data"), saved = entry.entry;
function show(el, state, text) {
	el.dataset.state = state;
	el.textContent = `${glyphs[state]} ${text}`;
}
function add(parent, tag, text) {
	const el = parent.appendChild(document.createElement(tag));
	el.textContent = text;
	return el;
}

// ask answers with what the server says now. Silence proves nothing.
async function ask(path, as = "json") {
	const r = await fetch(path, { cache: "no-store" }).catch(() => ({}));
	if (r.ok) return r[as]();
	throw Object.assign(new Error("no answer to " + path), { state: "unknown" });
}
const failed = (e) => ({ state: e.state ?? "bad", why: e.message });

// extended says whether the larger of two trees extends the smaller.
async function extended(a, b) {
	if (a.size > b.size) [a, b] = [b, a];
	const { consistencyProof: proof = [] } = a.size && a.size < b.size ?
		await ask(`/v1/log/proofs/consistency?from=${a.size}&to=${b.size}`) : {};
	return cairn.consistency(a.size, b.size, proof.map(base64), a.root, b.root);
}

// compare holds a checkpoint to what was seen. A page out of a cache may be older: then
// the log must have grown beyond what was seen, which must extend the page's.
async function compare(was, page) {
	const now = page.size < was.size ? await check(await ask("/checkpoint", "text"), frame.policy) : page;
	if (now.state !== "ok") return now;
	if (now.vkey !== was.vkey) return { state: "bad", why: "another key signs" };
	if (now.size < was.size) return { state: "bad", why: "the log is shorter" };
	const kept = await extended(was, now);
	return now === page || kept.state !== "ok" ? kept : extended(page, was);
}

// visit checks the page's checkpoint, and remembers it if that extends what was seen.
async function visit(seen) {
	const now = await check(frame.checkpoint, frame.policy), at = "cairn " + frame.origin;
	if (!entry.index) list(now.steps);
	if (now.state !== "ok") return show(seen, now.state, "Not believed: " + now.why);
	const checked = "Signatures of log and witnesses checked here. ";
	if (saved) return show(seen, "unknown", checked + "A saved page cannot ask whether the log still has this.");
	const read = () => JSON.parse(localStorage.getItem(at)), was = read();
	const write = (value) => localStorage.setItem(at, JSON.stringify(value));
	const next = { note: frame.checkpoint, vkey: now.vkey, time: was?.time ?? Date.now() };
	if (!was) {
		write(next);
		return show(seen, "ok", checked + "First visit: trusted on first use, remembered.");
	}
	const visited = "your visit of " + new Date(was.time).toLocaleDateString("en-GB", { dateStyle: "long" });
	const kept = was.evidence ? { state: "bad" } : await compare({ ...was, ...open(was.note) }, now).catch(failed);
	if (kept.state === "unknown") return show(seen, "unknown", `Not compared with ${visited}: ${kept.why}`);
	if (kept.state === "ok") {
		if (open(read().note).size <= now.size) write(next);
		return show(seen, "ok", `${checked}Append-only since ${visited} ✓`);
	}
	was.evidence ??= `${kept.why}\n\n${was.note}\n${frame.checkpoint}`;
	write(was);
	show(seen, "bad", `This log broke with what it showed at ${visited}: `);
	add(seen, "pre", was.evidence);
	add(seen, "button", "Copy the evidence").onclick = () => navigator.clipboard.writeText(was.evidence);
	add(seen, "button", "Forget it, trust anew").onclick = () => (localStorage.removeItem(at), location.reload());
}

function list(steps) {
	for (const s of byId("signatures") ? steps : []) show(add(byId("signatures"), "li"), s.state, s.text);
}

// prove recomputes an entry's way to the root from what the log says. A drawn step is
// right if each [data-is] in it reads like the fact of that name.
async function prove() {
	const { index } = entry, page = open(entry.checkpoint);
	let { entry: { leaf }, inclusionProof: path = [], checkpoint } = saved ?? await ask("/v1/log/entries/" + index);
	if (open(checkpoint).size !== page.size) {
		({ inclusionProof: path = [] } = await ask(`/v1/log/proofs/inclusion?index=${index}&size=${page.size}`));
		({ checkpoint } = entry);
	}
	const c = await check(checkpoint, frame.policy), hash = await cairn.leafHash(leaf);
	const way = await cairn.inclusion(hash, BigInt(index), page.size, path.map(base64), c.root);
	const facts = { text: leaf, leaf: hex(hash), root: way.state === "ok" && hex(c.root) };
	way.steps.forEach((s, i) => ["left", "right", "hash"].forEach((part) => { facts[part + i] = hex(s[part]); }));
	for (const line of leaf.split("\n")) {
		const [word, value] = line.split(" ");
		let n = 0;
		while (facts[word + n]) n++;
		facts[word + n] = value;
	}
	if (facts.envelope0) {
		const { attestation } = entry.attestation ? entry : await ask("/v1/attestations/" + facts.envelope0).catch(failed);
		if (attestation) facts.bytes = "sha256:" + hex(await cairn.sha256(base64(attestation)));
	}
	const results = [way];
	for (const step of all("[data-step]")) {
		const state = worst(all("[data-is]", step).map(({ dataset: { is }, textContent: t }) => {
			const fact = facts[is] ?? "";
			return fact === "" ? "unknown" : fact && fact.startsWith(t) && t.length >= Math.min(8, fact.length) ? "ok" : "bad";
		}));
		results.push({ state, why: step.dataset.step });
		show(step.querySelector("output"), state, state);
	}
	list(c.steps);
	results.push(c);
	const state = worst(results.map((r) => r.state));
	return { state, why: state === "ok" ? `entry ${index} is in the log of ${page.size}` : results.find((r) => r.state === state).why };
}

// look hashes a file here, and looks for its digest.
async function look(form, file) {
	const out = form.querySelector("output"), from = file.stream().getReader();
	if (file.size > 2 ** 30) return out.textContent = "Over 1 GiB: hash it with sha256sum, and paste sha256:…";
	const bytes = new Uint8Array(file.size);
	for (let at = 0, part; (part = (await from.read()).value); at += part.length) {
		bytes.set(part, at);
		out.textContent = `hashing: ${Math.floor(at / file.size * 100)} %`;
	}
	form.q.value = "sha256:" + hex(new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)));
	form.submit();
}

const run = (id, f) => byId(id) && f(byId(id)).catch((e) => show(byId(id), e.state ?? "bad", e.message));
run("seen", visit);
run("checked", async (el) => {
	const { state, why } = await prove();
	show(el, state, `${state === "unknown" ? "Not checked" : "Checked in your browser by code that this server sent"}: ${why}`);
});
for (const form of crypto.subtle ? all("form.search") : []) {
	const drop = form.querySelector(".drop"), input = drop.querySelector("input");
	drop.hidden = false;
	input.onchange = () => look(form, input.files[0]);
	form.ondragover = (e) => e.preventDefault();
	form.ondrop = (e) => (e.preventDefault(), look(form, e.dataTransfer.files[0]));
}
}
