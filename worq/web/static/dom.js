// Elements made of names, attributes and texts: no text ever becomes markup.
// `morph` changes what is shown into what is to be shown, and leaves alone what is the same, so
// that focus, selection and scrolling survive each second's news.

const SVG = 'http://www.w3.org/2000/svg';

// An element. Attributes: `onclick` and the like are functions; null, undefined and false are left
// out; `key` tells which element it is among its siblings; `own`: what is within is not ours to
// change. Children: elements, texts, numbers, lists of them; null and false are left out.
export function h(tag, attributes, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

// The same for what is drawn.
export function s(tag, attributes, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) element[name] = value;
    else if (name === 'key') element.setAttribute('data-key', value);
    else if (name === 'own') element.setAttribute('data-own', '');
    else if (name === 'value' && 'value' in element) element.setAttribute('value', value);
    else element.setAttribute(name, value === true ? '' : value);
  }
  append(element, children);
  return element;
}

function append(element, children) {
  for (const child of children) {
    if (Array.isArray(child)) append(element, child);
    else if (child instanceof Node) element.append(child);
    else if (child !== null && child !== undefined && child !== false && child !== '') {
      element.append(String(child));
    }
  }
}

const HANDLERS = ['onclick', 'onchange', 'oninput', 'onsubmit', 'onkeydown', 'onpointerdown',
  'onwheel', 'ontoggle'];

// Makes the children of `old` those of `fresh`, which is used up.
export function morph(old, fresh) {
  const keyed = new Map();
  for (const child of old.children) {
    const key = child.getAttribute('data-key');
    if (key !== null) keyed.set(key, child);
  }
  let at = old.firstChild;
  for (const wanted of [...fresh.childNodes]) {
    const key = wanted.nodeType === 1 ? wanted.getAttribute('data-key') : null;
    let there = key !== null ? keyed.get(key) : at;
    if (key === null) {   // a keyed one is not taken for another
      while (there && there.nodeType === 1 && there.hasAttribute('data-key')) {
        there = there.nextSibling;
      }
    }
    if (there && same(there, wanted)) {
      if (there !== at) old.insertBefore(there, at);
      else at = at.nextSibling;
      if (key !== null) keyed.delete(key);
      update(there, wanted);
    } else {
      old.insertBefore(wanted, at);
    }
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

function same(one, other) {
  return one.nodeType === other.nodeType && one.nodeName === other.nodeName
    && (one.nodeType !== 1 || one.getAttribute('data-key') === other.getAttribute('data-key'));
}

function update(there, wanted) {
  if (there.nodeType !== 1) {
    if (there.data !== wanted.data) there.data = wanted.data;
    return;
  }
  for (const { name } of [...there.attributes]) {
    if (!wanted.hasAttribute(name) && !(name === 'open' && there.tagName === 'DETAILS')) {
      there.removeAttribute(name);
    }
  }
  for (const { name, value } of wanted.attributes) {
    if (there.getAttribute(name) !== value) there.setAttribute(name, value);
  }
  for (const name of HANDLERS) {
    if (there[name] !== wanted[name]) there[name] = wanted[name];
  }
  if (there.tagName === 'INPUT' && there !== document.activeElement) {
    there.value = wanted.getAttribute('value') ?? '';
    there.checked = wanted.hasAttribute('checked');
  }
  if (!there.hasAttribute('data-own')) morph(there, wanted);
  if (there.tagName === 'SELECT' && there !== document.activeElement) {
    const chosen = [...there.options].findIndex((option) => option.hasAttribute('selected'));
    if (chosen >= 0) there.selectedIndex = chosen;
  }
}
