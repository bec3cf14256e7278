// Lays out a graph, in a worker: {id, nodes: [[key, width, height]], edges: [[source, target]]} in,
// {id, width, height, nodes: {key: [x, y]}, edges: [[[x, y], ...]]} out. Places are middles.
import * as dagre from './vendor/dagre/dagre.esm.js';

onmessage = ({ data }) => {
  const graph = new dagre.Graph({ multigraph: true });
  graph.setGraph({ rankdir: 'LR', nodesep: 14, ranksep: 46, marginx: 12, marginy: 12 });
  graph.setDefaultEdgeLabel(() => ({}));
  const names = data.nodes.map(([key, width, height], n) => {   // a key may be any text
    graph.setNode(`n${n}`, { width, height });
    return key;
  });
  const numbers = new Map(names.map((key, n) => [key, `n${n}`]));
  const edges = data.edges.map(([source, target], n) => {
    const edge = { v: numbers.get(source), w: numbers.get(target), name: `e${n}` };
    graph.setEdge(edge, {});
    return edge;
  });
  dagre.layout(graph);
  const { width, height } = graph.graph();
  postMessage({
    id: data.id,
    width: Number.isFinite(width) ? width : 0,
    height: Number.isFinite(height) ? height : 0,
    nodes: names.map((key, n) => [key, graph.node(`n${n}`).x, graph.node(`n${n}`).y]),
    edges: edges.map((edge) => graph.edge(edge).points.map(({ x, y }) => [x, y])),
  });
};
