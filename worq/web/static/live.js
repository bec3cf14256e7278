// News of what a tab shows: by server-sent events while it is visible, or else by asking.
import { get } from './api.js';

const SLOW = 2000;      // ms between two questions, where there are no events
const LOST = 8000;      // ms without a sign of life, after which that is told
const LONGEST = 15000;  // ms between two tries

export class Live {
  // told(topic, {value, error, now}); changed(word): 'live', 'asking', 'lost', 'hidden'
  constructor(told, changed) {
    this.told = told;
    this.changed = changed;
    this.topics = [];
    this.source = null;
    this.timer = 0;
    this.pause = 1000;
    this.heard = 0;
    document.addEventListener('visibilitychange', () => this.again());
    window.addEventListener('pagehide', () => this.stop());
    window.addEventListener('pageshow', (event) => event.persisted && this.again());
    window.addEventListener('online', () => this.again());
    setInterval(() => this.check(), 1000);
  }

  watch(topics) {
    if (this.topics.join('\n') === topics.join('\n')) return;
    this.topics = topics;
    this.again();
  }

  again() {
    this.stop();
    if (document.hidden) {
      this.changed('hidden');
      return;
    }
    if (!this.topics.length) return;
    const query = this.topics.map((topic) => `watch=${encodeURIComponent(topic)}`).join('&');
    const source = new EventSource(new URL(`../api/live?${query}`, import.meta.url));
    this.source = source;
    source.onopen = () => this.sign();
    source.addEventListener('beat', () => this.sign());
    source.onmessage = (event) => {
      this.sign();
      const said = JSON.parse(event.data);
      if (this.source === source) this.told(said.topic, said);
    };
    source.onerror = () => {
      // the browser comes again by itself, unless it was refused
      if (source.readyState === EventSource.CLOSED && this.source === source) this.ask();
    };
  }

  sign() {
    this.heard = Date.now();
    this.pause = 1000;
    this.changed('live');
  }

  check() {
    if (this.source && this.heard && Date.now() - this.heard > LOST) {
      this.heard = Date.now();
      this.changed('lost');
      this.ask();
    }
  }

  // Once by single questions; then events are tried again.
  async ask() {
    this.stop();
    const topics = this.topics;
    let lost = false;
    for (const topic of topics) {
      const said = await get(topic);
      if (topics !== this.topics || this.source || document.hidden) return;
      if (said.status === 0) lost = true;
      this.told(topic, said);
    }
    this.changed(lost ? 'lost' : 'asking');
    this.pause = lost ? Math.min(this.pause * 1.5, LONGEST) : SLOW;
    this.turns = (this.turns || 0) + 1;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      if (lost || this.turns % 5 === 0) this.again();
      else this.ask();
    }, this.pause);
  }

  stop() {
    clearTimeout(this.timer);
    if (this.source) this.source.close();
    this.source = null;
  }
}
