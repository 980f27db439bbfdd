"use strict";
// Check what the server sent, and remember it.
{
const { glyphs, hex, fail, base64, check, open, worst } = cairn;
const all = (css, of = document) => [...of.querySelectorAll(css)];
const byId = (id) => document.getElementById(id);
const data = (id) => JSON.parse(byId(id)?.textContent ?? "{}");
const frame = data("frame-data"), entry = data("entry-data"), saved = entry.entry;
const add = (to, tag, textContent) => to.appendChild(Object.assign(document.createElement(tag), { textContent }));
const brief = (hash) => hex(hash).slice(0, 8);
const show = (el, state, text) => {
	el.dataset.state = state;
	el.textContent = `${glyphs[state]} ${text}`;
};

// Silence proves nothing.
async function ask(path) {
	const r = await fetch("/v1/" + path, { cache: "no-store" }).catch(() => ({}));
	return r.ok ? r.json() : fail("no answer to " + path, "unknown");
}

async function extended(a, b) {
	if (a.size > b.size) [a, b] = [b, a];
	const { consistencyProof: proof = [] } = a.size < b.size ? await ask(`log/proofs/consistency?from=${a.size}&to=${b.size}`) : {};
	return cairn.consistency(a.size, b.size, proof.map(base64), a.root, b.root);
}

// compare: a page may be older than what was seen, out of a cache; the log may not.
async function compare(was, page) {
	const now = page.size < was.size ? await check((await ask("log/checkpoint")).checkpoint, frame.policy) : page;
	if (now.state !== "ok") return now;
	if (now.vkey !== was.vkey) fail("another key signs");
	if (now.size < was.size) fail("the log is shorter");
	const kept = await extended(was, now);
	return now === page || kept.state !== "ok" ? kept : extended(page, was);
}

// visit remembers the page's checkpoint if that extends what was seen.
async function visit(seen) {
	const now = await check(frame.checkpoint, frame.policy), at = "cairn " + frame.origin;
	if (!entry.index) list(now.steps);
	if (now.state !== "ok") return show(seen, now.state, "Not believed: " + now.why);
	const checked = `Checked here: the log's signature, ${now.steps.at(-1).text}. `;
	if (saved) return show(seen, "unknown", checked + "A saved page cannot ask whether the log still has this.");
	const was = JSON.parse(localStorage.getItem(at)) ?? { time: Date.now() };
	const old = was.note ? { ...was, ...open(was.note) } : now;
	const visited = "your visit of " + new Date(was.time).toLocaleDateString("en-GB", { dateStyle: "long" });
	const { state, why, steps = [] } = was.evidence ? { state: "bad" } : await compare(old, now).catch(({ state = "unknown", message: why }) => ({ state, why }));
	if (!entry.index) list(steps.map((s) => ({ state, text: `consistency: hash(01 ‖ ${brief(s.left)} ‖ ${brief(s.right)}) = ${brief(s.hash)}` })));
	if (state === "unknown") return show(seen, state, `Not compared with ${visited}: ${why}`);
	if (state === "bad") was.evidence ??= `${why}\n\n${was.note}\n${frame.checkpoint}`;
	else if (now.size >= old.size) Object.assign(was, { note: frame.checkpoint, vkey: now.vkey });
	localStorage.setItem(at, JSON.stringify(was));
	if (state === "ok") return show(seen, state, checked + (old === now ? "First visit: trusted on first use." : `Append-only since ${visited} ✓`));
	show(seen, state, `This log broke with what it showed at ${visited}: `);
	add(seen, "pre", was.evidence);
	add(seen, "button", "Copy the evidence").onclick = () => navigator.clipboard.writeText(was.evidence);
	add(seen, "button", "Forget it, trust anew").onclick = () => (localStorage.removeItem(at), location.reload());
}

function list(steps) {
	const ul = byId("signatures");
	if (ul) for (const s of steps) show(add(ul, "li"), s.state, s.text);
}

// prove recomputes an entry's way to the root. A drawn step is right if each [data-is] in
// it reads like that fact, or like its first 8 digits.
async function prove(overall) {
	const { index, checkpoint } = entry, { size } = open(checkpoint);
	let { entry: { leaf }, inclusionProof: path = [], checkpoint: note } = saved ?? await ask("log/entries/" + index);
	if (open(note).size !== size) {
		({ inclusionProof: path = [] } = await ask(`log/proofs/inclusion?index=${index}&size=${size}`));
		note = checkpoint;
	}
	const c = await check(note, frame.policy), { root } = open(note), hash = await cairn.leafHash(leaf);
	const way = await cairn.inclusion(hash, BigInt(index), size, path.map(base64), root);
	const facts = { text: leaf, lines: leaf.replace(/.*/, ""), leaf: hex(hash), root: way.why || hex(root) };
	way.steps.forEach((s, i) => { for (const part in s) facts[part + i] = hex(s[part]); });
	const envelope = /^envelope (.*)/m.exec(leaf)?.[1];
	if (envelope) {
		const { attestation } = entry.attestation ? entry : await ask("attestations/" + envelope).catch(() => ({}));
		const is = attestation && "sha256:" + hex(await cairn.sha256(base64(attestation)));
		facts.bytes = is && is !== envelope ? "others" : is;
	}
	const bare = (text = "") => text.replace(/\s/g, ""), results = [way];
	for (const step of all("[data-step]")) {
		const state = worst(all("[data-is]", step).map(({ dataset, textContent: t }) => {
			const fact = bare(facts[dataset.is]);
			return !fact ? "unknown" : fact === bare(t) || fact.slice(0, 8) === t ? "ok" : "bad";
		}));
		results.push({ state, why: step.dataset.step });
		show(step.querySelector("output"), state, state);
	}
	list(c.steps);
	results.push(c, await extended(open(note), open(frame.checkpoint)).catch((e) => e));
	const state = worst(results.map((r) => r.state)), { why } = results.find((r) => r.state === state);
	show(overall, state, state === "unknown" ? "Not checked: " + why :
		"Checked in your browser by code that this server sent: " + (state === "ok" ? `entry ${index} is in the log of ${size}` : why));
}

async function look(form, file) {
	const out = form.querySelector("output");
	if (file.size > 2 ** 30) return out.textContent = "Over 1 GiB: paste what sha256sum says";
	out.textContent = `hashing ${Math.ceil(file.size / 1e6)} MB…`;
	form.q.value = "sha256:" + hex(await cairn.sha256(file));
	form.submit();
}

const run = (id, f) => byId(id) && cairn.able().then(() => f(byId(id)))
	.catch(({ state = "unknown", message }) => show(byId(id), state, "Not believed: " + message));
run("seen", visit);
run("checked", prove);
for (const form of crypto.subtle ? all("form.search") : []) {
	const drop = form.querySelector(".drop");
	drop.hidden = false;
	drop.onchange = (e) => look(form, e.target.files[0]);
}
}

// follow adds to a build's log what is written to it, escaped as the server escapes it.
async function follow(pre) {
	const state = document.getElementById("live-state"), utf8 = new TextDecoder();
	for (let at = +pre.dataset.offset; ;) {
		try {
			const r = await fetch(`/v1/builds/${pre.dataset.build}/log?follow=true&offset=${at}`);
			const from = r.body.pipeThrough(new TextDecoderStream()).getReader();
			let held = "";
			for (let part; (part = (await from.read()).value);) {
				const lines = (held + part).split("\n"), end = pre.scrollHeight - pre.scrollTop - pre.clientHeight < 50;
				held = lines.pop();
				for (const line of lines) {
					const { offset, data } = JSON.parse(line).result, bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt());
					if (offset > at) pre.append(`[${offset - at} bytes of the log were not kept]\n`);
					at = +offset + bytes.length;
					pre.append(utf8.decode(bytes, { stream: true }).replace(/\x1b\[[\d;]*m|\r(?=\n)/g, "")
						.replace(/[^\P{C}\n\t]|[\u2028\u2029]/gu, (c) => "\\u" + c.codePointAt().toString(16).padStart(4, 0)));
				}
				while (pre.textContent.length > 2 ** 20) pre.firstChild.remove();
				if (end) pre.scrollTop = pre.scrollHeight;
				state.textContent = "Live.";
			}
			if (r.ok && !held) return state.textContent = "Ended.";
		} catch { /* it broke off */ }
		state.textContent = "Waiting.";
		await new Promise((f) => setTimeout(f, 5000));
	}
}
document.querySelectorAll("pre[data-build]").forEach(follow);
