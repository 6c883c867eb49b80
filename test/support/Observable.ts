/**
 * What can be observed of Seawall from outside, as its source says it: metrics, lines of log, spans, and the annotations that
 * all lines carry. What cannot be read from the source is an `Unresolved`, never left out.
 */
import { linesOf } from "./ObservableLines.ts"
import { child, children, memberOf, type Node, type SourceTree, textIn } from "./SourceTree.ts"
import { argumentsOf, firstOf, isOf, keysOf, propertyOf, textsOf } from "./SourceValues.ts"

export interface Seen {
  /** In which part of the house. */
  readonly room: string
  readonly name: string
}

export interface SeenMetric extends Seen {
  readonly type: string
  readonly description: string
  readonly attributes: ReadonlyArray<string>
  readonly bounds: ReadonlyArray<number>
}

export interface SeenEvent extends Seen {
  readonly level: string
  /** `cause` among them when a failure is printed with the line. */
  readonly fields: ReadonlyArray<string>
}

export interface SeenSpan extends Seen {
  /** Those that it has from its start. */
  readonly attributes: ReadonlyArray<string>
  /** Those that the file which makes it gives to its spans later, this one or another. */
  readonly later: ReadonlyArray<string>
}

export interface Observable {
  readonly metrics: ReadonlyArray<SeenMetric>
  readonly events: ReadonlyArray<SeenEvent>
  readonly spans: ReadonlyArray<SeenSpan>
  /** The annotations of all lines. */
  readonly carried: ReadonlyArray<string>
  /** The names of the closing steps. */
  readonly steps: ReadonlyArray<string>
}

/** Names that are looked for must not be hidden behind others. */
const ensureOwnNames = (tree: SourceTree) => {
  for (const declaration of tree.nodes.filter(({ type }) => type === "ImportDeclaration")) {
    const from = textIn(child(declaration, "source"), "value")
    for (const specifier of children(declaration, "specifiers")) {
      const local = textIn(child(specifier, "local"), "name")
      const name = from === "effect" ? textIn(child(specifier, "imported"), "name") : from.slice("effect/".length)
      if (["Effect", "Metric"].some((it) => (it === name) !== (it === local && from.startsWith("effect")))) {
        throw tree.unresolved(specifier, `expected Effect and Metric under their own names, got ${name} as ${local}`)
      }
    }
  }
}

/** Nor may they be taken apart, or handed on. */
const ensureWhole = (tree: SourceTree) => {
  for (const node of tree.nodes) {
    if (node.type !== "Identifier" || !["Effect", "Metric"].includes(textIn(node, "name"))) continue
    const parent = tree.parentOf(node)
    if (parent === undefined || /^Import|^TS/.test(parent.type)) continue
    const isName = parent.type === "MemberExpression" && child(parent, "property") === node
    if (isName || memberOf(parent)?.[0] === textIn(node, "name")) continue
    throw tree.unresolved(node, `expected a member of ${textIn(node, "name")} by its name`)
  }
}

/** What a program adds to the spans of its database is its own. */
const ownAlone = (node: Node) =>
  node.type === "Identifier" && textIn(node, "name") === "spanAttributes" ? [] : undefined

const constructors = ["counter", "gauge", "histogram", "timer", "summary", "summaryWithTimestamp", "frequency"]

const metricsOf = (tree: SourceTree, roomOf: (node: Node) => string): ReadonlyArray<SeenMetric> => {
  const labelled = tree.calls(isOf("Metric", "withAttributes")).map((call) => {
    const binding = tree.follow(firstOf(tree, call))
    if (binding.is !== "Value") throw tree.unresolved(call, "expected a metric that is a constant")
    return { metric: binding.node, attributes: keysOf(tree, argumentsOf(call)[1] ?? call, ownAlone) }
  })
  return tree
    .calls(isOf("Metric", ...constructors))
    .filter((call) => memberOf(firstOf(tree, call))?.[1] !== "id") // the metric of that name once more
    .flatMap((call) => {
      const options = argumentsOf(call)[1]
      const type = memberOf(child(call, "callee"))?.[1] ?? ""
      const description = propertyOf(options, "description")
      if (description === undefined) throw tree.unresolved(call, "expected a description")
      const bounds = propertyOf(options, "boundaries")
      if (type === "histogram" && bounds?.type !== "ArrayExpression") {
        throw tree.unresolved(call, "expected the boundaries as numbers")
      }
      // Those that a caller gives are the caller's own.
      const given = propertyOf(options, "attributes")
      const own = given === undefined || tree.follow(given).is === "Parameter" ? [] : keysOf(tree, given, ownAlone)
      return textsOf(tree, firstOf(tree, call)).map((name) => ({
        room: roomOf(call),
        name,
        type,
        description: textsOf(tree, description).join(" / "),
        attributes: [...own, ...labelled.flatMap(({ attributes, metric }) => (metric === call ? attributes : []))],
        bounds: bounds === undefined ? [] : children(bounds, "elements").map(({ value }) => Number(value)),
      }))
    })
}

const isCallOf = (name: string) => (callee: Node) => textIn(child(callee, "property"), "name") === name

/** What each file gives to a span after it is made. */
const laterIn = (tree: SourceTree, made: ReadonlyArray<Node>): ReadonlyMap<string, ReadonlyArray<string>> => {
  /** Of `for (const [name, value] of Object.entries(object)) span.attribute(name, value)`: the keys of the object. */
  const entriesAround = (call: Node) => {
    const loop = tree.ancestorsOf(call).find(({ type }) => type === "ForOfStatement")
    const entries = loop === undefined ? undefined : child(loop, "right")
    const isEntries = entries?.type === "CallExpression" && isOf("Object", "entries")(child(entries, "callee"))
    const isName = firstOf(tree, call).type === "Identifier"
    return isEntries && isName ? keysOf(tree, firstOf(tree, entries), ownAlone) : undefined
  }
  const later = new Map<string, Array<string>>(made.map((span) => [tree.fileOf(span), []]))
  const give = (call: Node, attributes: ReadonlyArray<string>) => {
    const known = later.get(tree.fileOf(call))
    if (known === undefined) throw tree.unresolved(call, "expected the span to be made in the same file")
    known.push(...attributes)
  }
  for (const call of tree.calls(isOf("Effect", "annotateCurrentSpan"))) {
    give(call, keysOf(tree, firstOf(tree, call), ownAlone))
  }
  for (const call of tree.calls(isCallOf("attribute"))) {
    give(call, entriesAround(call) ?? textsOf(tree, firstOf(tree, call)))
  }
  return later
}

const spansOf = (tree: SourceTree, roomOf: (node: Node) => string): ReadonlyArray<SeenSpan> => {
  const byEffect = tree
    .calls(isOf("Effect", "withSpan", "useSpan", "fn"))
    .filter((call) => !isOf("Effect", "fn")(child(call, "callee")) || !firstOf(tree, call).type.includes("Function"))
  const byTracer = tree.calls(isCallOf("span"))
  const later = laterIn(tree, [...byEffect, ...byTracer])
  const named = (call: Node, name: Node, options: Node | undefined) => {
    const given = propertyOf(options, "attributes")
    const attributes = given === undefined ? [] : keysOf(tree, given, ownAlone)
    const its = { room: roomOf(call), attributes, later: later.get(tree.fileOf(call)) ?? [] }
    return textsOf(tree, name).map((it) => ({ ...its, name: it }))
  }
  return [
    ...byEffect.flatMap((call) => {
      // The name is the first, or, where the effect stands before it, the second.
      const name = [argumentsOf(call)[1], firstOf(tree, call)].find((it) => /Literal|Conditional/.test(it?.type ?? ""))
      const options = argumentsOf(call).find(({ type }) => type === "ObjectExpression")
      return named(call, name ?? firstOf(tree, call), options)
    }),
    ...byTracer.flatMap((call) => {
      const name = propertyOf(firstOf(tree, call), "name")
      if (name === undefined) throw tree.unresolved(call, "expected the name of a span")
      return named(call, name, firstOf(tree, call))
    }),
  ]
}

/** @param rooms The part of the house for each folder below `src`. */
export const observe = (tree: SourceTree, rooms: Readonly<Record<string, string>>): Observable => {
  const roomOf = (node: Node) => {
    const room = rooms[tree.fileOf(node).split("/")[1] ?? ""]
    if (room === undefined) throw tree.unresolved(node, "expected a folder that belongs to a room of the document")
    return room
  }
  ensureOwnNames(tree)
  ensureWhole(tree)
  const { carried, lines } = linesOf(tree)
  return {
    metrics: metricsOf(tree, roomOf),
    events: lines.flatMap(({ fields, level, message, node }) =>
      textsOf(tree, message).map((name) => ({ room: roomOf(node), name, level, fields: [...fields] })),
    ),
    spans: spansOf(tree, roomOf),
    carried: [...carried],
    steps: tree.calls(isOf("Shutdown", "step")).flatMap((call) => textsOf(tree, firstOf(tree, call))),
  }
}
