// Charts of minutes, drawn by uPlot. A chart lives as long as its figure is shown.
import uPlot from './vendor/uplot/uPlot.esm.js';
import { h } from './dom.js';
import { span } from './words.js';

const drawn = new Map();   // by element: the chart, and the text of what it shows
const HEIGHT = 150;
const FEW = 15;   // minutes that a chart shows, at least

// A figure that `draw` fills. `series`: [{label, colour: a word of worq.css, values, fill}].
export function figure(key, title, told) {
  return h('figure', { class: 'card chart', key },
    h('figcaption', {}, h('strong', {}, title), ' ', h('span', { class: 'dim' }, told)),
    h('div', { class: 'plot', own: true, 'data-chart': key, role: 'img', 'aria-label': `${title}: ${told}` }));
}

// Draws the charts whose figures are there: {key: {x, series, seconds}}.
export function draw(charts, repaint) {
  for (const [element, chart] of drawn) {
    if (element.isConnected && !repaint) continue;
    chart.plot.destroy();
    drawn.delete(element);
  }
  for (const element of document.querySelectorAll('[data-chart]')) {
    const wanted = charts[element.dataset.chart];
    if (!wanted) continue;
    const data = [wanted.x, ...wanted.series.map((one) => one.values)];
    const width = element.clientWidth;
    const text = JSON.stringify([width, data]);
    const there = drawn.get(element);
    if (there?.text === text) continue;
    if (there && there.count === wanted.series.length) {
      if (there.plot.width !== width) there.plot.setSize({ width, height: HEIGHT });
      there.plot.setData(data);
      there.text = text;
      continue;
    }
    there?.plot.destroy();
    drawn.set(element, {
      plot: new uPlot(options(wanted, width), data, element), text, count: wanted.series.length,
    });
  }
}

const colour = (word) => getComputedStyle(document.documentElement).getPropertyValue(`--${word}`).trim();

function options(wanted, width) {
  const axis = {
    stroke: colour('dim'), grid: { stroke: colour('line'), width: 1 },
    ticks: { stroke: colour('line'), width: 1, size: 4 },
    font: '11px system-ui, sans-serif',
  };
  return {
    width, height: HEIGHT,
    padding: [8, 18, 0, 0],
    legend: { live: true },
    cursor: { y: false },
    scales: { y: { range: (plot, low, high) => [0, high > 0 ? high * 1.1 : 1] } },
    axes: [
      { ...axis, space: 70, size: 28, values: (plot, ticks) => ticks.map((at) => new Date(at * 1000).toTimeString().slice(0, 5)) },
      { ...axis, size: 58, values: (plot, ticks) => ticks.map((value) => (wanted.seconds ? span(value) : value)) },
    ],
    series: [
      { value: (plot, at) => (at ? new Date(at * 1000).toTimeString().slice(0, 5) : '') },
      ...wanted.series.map((one) => ({
        label: one.label, stroke: colour(one.colour), width: 1.6, spanGaps: false,
        fill: one.fill ? `${colour(one.colour)}30` : undefined, dash: one.dash,
        points: { show: one.values.length < 30 || undefined, size: 4 },
        value: (plot, value) => (value === null || value === undefined ? '–' : wanted.seconds ? span(value) : value),
      })),
    ],
  };
}

// The minutes from so many hours ago until now, those of which nothing is known among them; of a
// queue that is younger those since it began.
export function minutes(rows, hours, now) {
  const last = Math.floor(now / 60) * 60;
  const known = new Map(rows.map((row) => [row.at, row]));
  const first = rows.length ? Math.min(rows[0].at, last - FEW * 60) : 0;
  const x = [];
  for (let at = Math.max(last - hours * 3600, first); at <= last; at += 60) {
    if (at < last || known.has(at)) x.push(at);
  }
  return { x, of: (field) => x.map((at) => (known.has(at) ? field(known.get(at)) : null)) };
}

window.addEventListener('resize', () => {
  for (const [element, chart] of drawn) {
    if (element.isConnected) chart.plot.setSize({ width: element.clientWidth, height: HEIGHT });
  }
});
