// Finds elements by selector and checks their type, so that a template that lacks one is noticed at once.

/**
 * @template {Element} T
 * @param {ParentNode} root
 * @param {string} selector
 * @param {new () => T} type
 * @returns {T[]}
 */
export function findAll(root, selector, type) {
  return [...root.querySelectorAll(selector)].map((element) => checked(element, selector, type));
}

/**
 * @template {Element} T
 * @param {ParentNode} root
 * @param {string} selector
 * @param {new () => T} type
 * @returns {T | null}
 */
export function findOptional(root, selector, type) {
  const element = root.querySelector(selector);
  return element && checked(element, selector, type);
}

/**
 * @template {Element} T
 * @param {ParentNode} root
 * @param {string} selector
 * @param {new () => T} type
 * @returns {T}
 */
export function find(root, selector, type) {
  const element = findOptional(root, selector, type);
  if (!element) throw new Error(`no element ${selector}`);
  return element;
}

/**
 * @template {Element} T
 * @param {Element} element
 * @param {string} selector
 * @param {new () => T} type
 * @returns {T}
 */
function checked(element, selector, type) {
  if (!(element instanceof type)) throw new Error(`no element ${selector} of type ${type.name}`);
  return element;
}

/**
 * Calls a function with the first element that matches, if the page has one.
 *
 * @template {Element} T
 * @param {string} selector
 * @param {new () => T} type
 * @param {(element: T) => void} setUp
 */
export function whenPresent(selector, type, setUp) {
  const element = findOptional(document, selector, type);
  if (element) setUp(element);
}
