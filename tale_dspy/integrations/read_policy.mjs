// Reference reader of a budget policy that `tale export PROGRAM --to json-policy` wrote:
//   import { loadPolicy } from "./read_policy.mjs";
//   const budgetFor = loadPolicy("policy.json");
//   budgetFor("Tom has 3 apples. How many are left?");  // tokens, or an effort word such as low or low+50

import { readFileSync } from "node:fs";
const LONGEST = 100000; // characters that are looked at; the length counts in full
const SPACE = "[\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]";
const NUMBER = /\p{Nd}+(?:[.,]\p{Nd}+)*/gu;
const PATTERNS = {
  words: /[\p{L}\p{N}_]+/gu,
  numbers: NUMBER,
  digits: /\p{Nd}/gu,
  // Nested look-aheads with a back-reference match without going back, as the possessive quantifiers of Python do.
  sentences: new RegExp(`(?<![.!?])(?=([.!?]+))\\1(?=(["'”’»)\\]]*))\\2(?=${SPACE}|$)|[。！？]+`, "gu"),
  commas: /[,;:](?!\p{Nd})|[，、；：]/gu,
  question_marks: /[?？]/gu,
  signs: /[+\-−*/=^×÷%<>≤≥√\\$€£¥]/gu,
  options: /(?<![\p{L}\p{N}_])[A-J][).:、．]/gu,
  lines: /\n/gu,
};

function counts(text) {
  const characters = [...text];
  const seen = characters.slice(0, LONGEST).join("");
  const found = Object.fromEntries(Object.entries(PATTERNS).map(([k, p]) => [k, (seen.match(p) ?? []).length]));
  const numbers = seen.match(NUMBER) ?? [];
  const longest_number = Math.max(0, ...numbers.map((n) => (n.match(PATTERNS.digits) ?? []).length));
  return { ...found, characters: characters.length, different_numbers: new Set(numbers).size, longest_number };
}
const within = (value, limits) => Math.min(Math.max(value, limits.floor), limits.ceiling);
function score({ terms, furthest, intercept = 0 }, text, found = counts(text)) {
  const off = terms.map((t) => (Math.log1p(found[t.feature]) - t.centre) / t.scale);
  const sum = terms.reduce((s, t, i) => s + t.weight * Math.max(-furthest, Math.min(off[i], furthest)), intercept);
  return { sum, isUsual: off.every((x) => Math.abs(x) <= furthest) };
}
function effort(efforts, text) {
  const { sum } = score(efforts, text);
  const chance = (threshold) => Math.round(1e6 / (1 + Math.exp(Math.min(sum - threshold, 700)))) / 1e6;
  return efforts.words.find((_, i) => chance(efforts.thresholds[i]) >= efforts.confidence) ?? efforts.words.at(-1);
}
function estimate(policy, text) {
  const { sum, isUsual } = score(policy.regression, text);
  const tokens = Math.round(Math.exp(Math.min(sum, Math.log(1e9))) * 1e4) / 1e4;
  return isUsual ? tokens : Math.max(tokens, policy.estimator.default);
}
/** Return a function from a question's text to its budget: a number of tokens, or an effort word. */
export function policyOf(policy) {
  if (policy.format !== "tale-policy" || policy.version !== 1) throw new Error("not a tale-policy of version 1");
  return (text) => {
    if (policy.effort !== null || policy.token_budget !== null) return policy.token_budget ?? policy.effort;
    const blank = !new RegExp(`(?!${SPACE}).`, "su").test(text);
    if (policy.efforts !== null) return blank ? policy.efforts.default : effort(policy.efforts, text);
    const { estimator, program } = policy;
    if (policy.regression === null || blank) return within(within(estimator.default, estimator), program);
    const estimated = within(Math.ceil(estimate(policy, text) * estimator.scale), estimator);
    return within(Math.ceil(estimated * program.scale), program);
  };
}
export const loadPolicy = (path) => policyOf(JSON.parse(readFileSync(path, "utf8")));
