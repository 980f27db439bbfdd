"use strict";

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
