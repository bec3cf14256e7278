// The queue in numbers, what there was lately, and by which names.
import { h } from '../dom.js';
import * as charts from '../charts.js';
import { ask } from '../dialog.js';
import { number, percent, plural, span, time } from '../words.js';
import { empty, taskLink } from './parts.js';

const HOURS = [1, 3, 8];

export const title = () => 'Overview';

const hours = (page) => (HOURS.includes(Number(page.asked.hours)) ? Number(page.asked.hours) : 1);
const minutesOf = (page) => page.topic('minutes', { hours: hours(page), name: page.asked.name || '' });
const namesOf = (page) => page.topic('names', { hours: hours(page) });

export const topics = (page) => [minutesOf(page), namesOf(page)];

export function render(page) {
  const said = page.seen[page.topic('overview')];
  if (!said?.value) return empty(said);
  return [
    h('h1', { class: 'hidden' }, 'Overview'),
    paused(page, said.value),
    tiles(page, said.value),
    lately(page),
    names(page),
  ];
}

// What is paused, by whom, and the button that ends it.
function paused(page, found) {
  const resume = (name) => () => ask('resume', 0, { queue: page.asked.queue, name }, () => [
    `Resume ${what(name)}?`, 'Pools take what is ready again.', 'Resume'], () => 'It goes on.');
  return found.paused.map(({ names: name, who, moment }) => h('p', { class: 'row notice', key: `p ${name}` },
    h('strong', {}, `Paused: ${what(name)}`), who ? `by ${who}` : '', h('span', { class: 'dim' }, 'since ', time(moment)),
    page.may('resume') ? h('button', { type: 'button', class: 'end', onclick: resume(name) }, 'Resume …') : null));
}

const what = (name) => (name === '*' ? 'the whole queue' : name);

function pauseButton(page) {
  const name = page.asked.name || '*';
  const now = page.seen[page.topic('overview')].value.paused;
  if (!page.may('pause') || now.some((one) => one.names === name)) return null;
  const pause = () => ask('pause', 0, { queue: page.asked.queue, name }, () => [
    `Pause ${what(name)}?`, 'What runs goes on. What is ready or comes waits, until somebody resumes it.', 'Pause'],
  () => 'It is paused.');
  return h('button', { type: 'button', class: 'end', onclick: pause },
    name === '*' ? 'Pause the queue …' : `Pause ${name} …`);
}

function tiles(page, found) {
  const { sizes, ended } = found;
  const oldest = Math.max(...Object.values(found.oldest).filter((age) => age !== null), -1);
  const pace = found.grows !== null ? `grows by ${number(found.grows)} a minute`
    : found.drain ? `drained in ${span(found.drain)}` : '';
  const bad = ended.failed + ended.expired;
  return h('section', { class: 'tiles', 'aria-label': 'Now' },
    tile(page.link('tasks', { state: 'enqueued' }), 's-enqueued', 'Ready', number(sizes.enqueued),
      [oldest >= 0 ? `oldest ${span(oldest)}` : 'nothing waits for a worker', pace]),
    tile(page.link('pools'), 's-processing', 'Running', number(sizes.processing),
      [found.pools ? `${found.busy} of ${plural(found.workers, 'worker')} busy` : h('strong', { class: 'bad' }, 'no pool works'),
        found.longest ? `longest ${span(found.longest.seconds)}, ${found.longest.name}` : '']),
    tile(page.link('tasks', { state: 'pending' }), 's-pending', 'Waiting', number(sizes.pending),
      ['for other tasks']),
    tile(page.link('tasks', { state: 'scheduled' }), 's-scheduled', 'Scheduled', number(sizes.scheduled),
      [found.due !== null ? `next in ${span(found.due)}` : 'nothing is due later']),
    tile(page.link('failed'), bad ? 's-failed' : 's-success', 'Failed, last hour', number(bad),
      [ended.expired ? `${number(ended.expired)} of them expired` : '',
        `${number(ended.success)} succeeded`]));
}

function tile(href, colour, name, count, lines) {
  return h('a', { class: `tile card ${colour}`, href },
    h('span', { class: 'name' }, name), h('span', { class: 'count' }, count),
    lines.filter(Boolean).map((line) => h('span', { class: 'line' }, line)));
}

function lately(page) {
  const name = page.asked.name || '';
  return h('section', { 'aria-labelledby': 'lately' },
    h('div', { class: 'row' },
      h('h2', { id: 'lately' }, name ? ['Lately: ', h('span', { class: 'mono' }, name)] : 'Lately'),
      name ? h('a', { href: page.link('', { hours: page.asked.hours }) }, 'all names') : null,
      h('span', { class: 'choice', role: 'group', 'aria-label': 'How far back' }, HOURS.map((count) => h('a', {
        href: page.link('', { hours: count, name }),
        'aria-current': count === hours(page) ? 'true' : null,
      }, `${count} h`))),
      pauseButton(page)),
    h('div', { class: 'charts' }, Object.entries(figures(page)).map(
      ([key, { title, told }]) => charts.figure(key, title, told))));
}

function figures(page) {
  const said = page.seen[minutesOf(page)];
  const { x, of } = charts.minutes(said?.value || [], hours(page), said?.now || Date.now() / 1000);
  const work = (field) => of((row) => row.work[field]);
  const count = (field) => work(field).map((value) => value ?? 0);
  const total = (field) => count(field).reduce((all, value) => all + value, 0);
  const top = (values) => values.reduce((most, value) => Math.max(most, value ?? 0), 0);
  const ended = x.map((at, n) => count('success')[n] + count('failed')[n] + count('expired')[n] + count('cancelled')[n]);
  const failures = total('failed') + total('expired');
  const made = {
    rate: {
      title: 'Ended a minute', told: `${number(top(ended))} at most`, x,
      series: [{ label: 'ended', colour: 'c-ended', values: ended, fill: true }],
    },
    failures: {
      title: 'Failures a minute', told: `${plural(failures, 'failure')}, ${number(total('retried'))} retried`, x,
      series: [{ label: 'failed', colour: 'c-failed', values: count('failed'), fill: true },
        { label: 'expired', colour: 'c-expired', values: count('expired'), dash: [6, 3] },
        { label: 'retried', colour: 'c-retried', values: count('retried'), dash: [2, 3] }],
    },
    run: {
      title: 'Run time', told: `95 % within ${span(top(work('run_95')))}`, x, seconds: true,
      series: [{ label: 'half', colour: 'c-half', values: work('run_median') },
        { label: '95 %', colour: 'c-most', values: work('run_95'), dash: [6, 3] }],
    },
    wait: {
      title: 'Waiting time', told: `95 % within ${span(top(work('wait_95')))}`, x, seconds: true,
      series: [{ label: 'half', colour: 'c-half', values: work('wait_median') },
        { label: '95 %', colour: 'c-most', values: work('wait_95'), dash: [6, 3] }],
    },
  };
  if (!page.asked.name) {
    const size = (state) => of((row) => row.sizes[state]);
    made.sizes = {
      title: 'Tasks there were', told: `at most ${number(top(size('enqueued')))} ready`, x,
      series: [{ label: 'ready', colour: 'c-ended', values: size('enqueued'), fill: true },
        { label: 'running', colour: 'c-most', values: size('processing') },
        { label: 'waiting', colour: 'c-retried', values: size('pending'), dash: [6, 3] }],
    };
  }
  return made;
}

export function drawn(page) {
  charts.draw(figures(page), page.repaint);
  page.repaint = false;
}

const HEADS = [['Task', ''], ['Ended', 'num'], ['A minute', 'num'], ['Run, half', 'num'], ['Run, 95 %', 'num'],
  ['Wait, 95 %', 'num'], ['Failed', 'num'], ['Slowest', '']];

function names(page) {
  const said = page.seen[namesOf(page)];
  if (!said?.value) return empty(said);
  return h('section', { 'aria-labelledby': 'names' },
    h('h2', { id: 'names' }, 'By name'),
    said.value.length ? h('table', { class: 'card stack' },
      h('caption', { class: 'hidden' }, `What there was in ${hours(page)} h by the names of tasks, what took most time first`),
      h('thead', {}, h('tr', {}, HEADS.map(([text, kind]) => h('th', { scope: 'col', class: kind }, text)))),
      h('tbody', {}, said.value.map(({ name, work }) => row(page, name, work))))
      : h('p', { class: 'dim' }, 'Pools have told nothing in this time.'));
}

// How many a minute, since the first one of which anything is known.
function rate(page, ended) {
  const first = page.seen[minutesOf(page)]?.value?.[0]?.at;
  const now = page.seen[namesOf(page)].now;
  if (!ended) return '0';
  const a = ended / Math.max(Math.min((now - (first ?? now)) / 60, hours(page) * 60), 1);
  return a < 0.5 ? '<1' : number(a);
}

function row(page, name, work) {
  const ended = work.success + work.failed + work.expired + work.cancelled;
  const cells = [number(ended), rate(page, ended), span(work.run_median), span(work.run_95),
    span(work.wait_95), percent(work.failed + work.expired, ended)];
  return h('tr', { key: name },
    h('th', { scope: 'row', 'data-label': HEADS[0][0] }, h('a', {
      href: page.link('', { name, hours: page.asked.hours }), class: 'mono',
    }, name)),
    cells.map((text, n) => h('td', {
      class: `num${n === 5 && work.failed + work.expired ? ' bad' : ''}`, 'data-label': HEADS[n + 1][0],
    }, text)),
    h('td', { 'data-label': 'Slowest' }, work.slow
      ? [h('span', { class: 'num' }, `${span(work.slow_seconds)} `), taskLink(page, work.slow)] : '–'));
}
