// Runs static/verify.js on vectors that the ledger's own code made and judged:
//
//	node verify_test.mjs <verify.js> <vectors.json>
//
// Prints each disagreement on a line, and at last how many vectors agreed.
import { readFileSync } from "node:fs";

const [script, file] = process.argv.slice(2);
const cairn = new Function(readFileSync(script, "utf8") + "\nreturn cairn;")();
const vectors = JSON.parse(readFileSync(file, "utf8"));
const list = (hashes) => (hashes ?? []).map(cairn.base64);
let agreed = 0;

// judge runs what gives {state, why}. What throws is refused, as pages have it.
async function judge(what, v, run) {
	let got;
	try {
		got = await run(v);
	} catch (e) {
		got = { state: "bad", why: e.message };
	}
	const told = got.state === "ok" || got.why;
	if (got.state === v.want && told) agreed++;
	else console.log(`${what} ${v.name}: got ${got.state} (${got.why}), want ${v.want}`);
}

const every = (list, run) => Promise.all(list.map(run));
await every(vectors.notes, (v) => judge("note", v, () => cairn.check(v.signed, v.policy)));
await every(vectors.inclusions, (v) => judge("inclusion", v, async () => {
	const leaf = await cairn.leafHash(v.leaf);
	const got = await cairn.inclusion(leaf, BigInt(v.index), BigInt(v.size), list(v.path), cairn.base64(v.root));
	return drawn(got, leaf, v);
}));
await every(vectors.consistencies, (v) => judge("consistency", v, () =>
	cairn.consistency(BigInt(v.from), BigInt(v.to), list(v.path), cairn.base64(v.fromRoot), cairn.base64(v.toRoot))));
console.log(`${agreed} agreed`);

// drawn holds the steps of a good path to what they are drawn as: a chain from the leaf
// to the root in which each hash is one of the next step's two, and its other the path's.
function drawn(got, leaf, v) {
	if (got.state !== "ok") return got;
	let hash = leaf;
	for (const [i, step] of got.steps.entries()) {
		const other = cairn.same(step.left, hash) ? step.right : step.left;
		const chained = cairn.same(step.left, hash) || cairn.same(step.right, hash);
		if (!chained || !cairn.same(other, cairn.base64(v.path[i]))) return { state: "bad", why: `step ${i} is drawn wrong` };
		hash = step.hash;
	}
	if (got.steps.length !== (v.path ?? []).length || !cairn.same(hash, cairn.base64(v.root))) return { state: "bad", why: "steps are missing" };
	return got;
}
