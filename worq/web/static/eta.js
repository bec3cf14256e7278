// When a task will be done, and what that is bound by: pure functions.
import { LIVE } from './words.js';

// How many tasks of a node are not over yet.
export const left = (node) => LIVE.reduce((all, state) => all + (node.states[state] || 0), 0);

// Seconds that one task of a node has still to run; null: nothing is known of its name.
function rest(node, means, now) {
  const mean = means.get(node.name) ?? null;
  if (node.state !== 'processing' || node.size > 1) return mean;
  const ran = node.since === null ? 0 : Math.max(now - node.since, 0);
  const { done = 0, total = 0 } = node.progress || {};
  if (total > 0 && done > 0) return Math.max(ran / done * (total - done), 0);
  return mean === null ? null : Math.max(mean - ran, 0);
}

// {seconds, by: 'workers' or 'chain', chain: names, unknown: whether some names, or some of the
// graph, are not known, so that it will be later}; null: it is over, or nothing can be said.
export function eta(graph, means, workers, now) {
  const nodes = new Map(graph.nodes.map((node) => [node.key, node]));
  const root = nodes.get(graph.root);
  if (!root || !left(root)) return null;
  const before = new Map();
  for (const { source, target } of graph.edges) {
    if (!before.has(target)) before.set(target, []);
    before.get(target).push(source);
  }
  let unknown = graph.left_out > 0;
  let work = 0;
  const longest = new Map();   // of what has been gone through: [seconds, names]
  const open = [[graph.root, false]];
  const met = new Set();
  while (open.length) {        // depth first, and no recursion: a chain may be long
    const [key, back] = open.pop();
    const node = nodes.get(key);
    if (!back) {
      if (met.has(key)) continue;
      met.add(key);
      open.push([key, true], ...(before.get(key) || []).map((source) => [source, false]));
      continue;
    }
    const count = left(node);
    const seconds = count ? rest(node, means, now) : 0;
    if (count && (seconds === null || node.above > 0)) unknown = true;
    work += (seconds ?? 0) * count;
    let [most, names] = [0, []];
    for (const source of before.get(key) || []) {
      const found = longest.get(source);   // none on a circle, which no queue lets be
      if (found && found[0] > most) [most, names] = found;
    }
    longest.set(key, [most + (seconds ?? 0), count ? [...names, node.name] : names]);
  }
  const [chain, names] = longest.get(graph.root);
  const shared = workers ? work / workers : Infinity;
  if (!work) return null;
  return shared > chain ? { seconds: shared, by: 'workers', chain: names, unknown }
    : { seconds: chain, by: 'chain', chain: names, unknown };
}
