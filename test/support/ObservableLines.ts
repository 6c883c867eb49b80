/**
 * The lines that a source can log, each with the fields of every `annotateLogs` around it, and the annotations that all lines
 * carry.
 */
import { child, children, memberOf, type Node, type SourceTree, textIn } from "./SourceTree.ts"
import { argumentsOf, firstOf, isOf, keysOf, type KnownKeys, propertyOf } from "./SourceValues.ts"

export interface Line {
  readonly node: Node
  readonly level: string
  readonly message: Node
  /** `cause` among them when a failure is printed with the line. */
  readonly fields: Set<string>
}

const levels: Readonly<Record<string, string>> = {
  log: "INFO",
  logTrace: "TRACE",
  logDebug: "DEBUG",
  logInfo: "INFO",
  logWarning: "WARN",
  logError: "ERROR",
  logFatal: "FATAL",
}

/** As `Effect.ignore` spells them. */
const ignoredLevels: Readonly<Record<string, string>> = { Debug: "DEBUG", Info: "INFO", Warn: "WARN", Error: "ERROR" }

/** What logs, annotates or makes spans in a way that is not read here; the source does without. */
const unreadable = new Set([
  "logWithLevel",
  "annotateLogsScoped",
  "withLogSpan",
  "annotateSpans",
  "linkSpans",
  "makeSpan",
  "makeSpanScoped",
  "withSpanScoped",
])

const ensureReadable = (tree: SourceTree) => {
  for (const node of tree.nodes) {
    const member = memberOf(node)
    if (member?.[0] !== "Effect") continue
    const parent = tree.parentOf(node)
    const isCalled = parent?.type === "CallExpression" && child(parent, "callee") === node
    if (unreadable.has(member[1]) || (member[1] in levels && !isCalled)) {
      throw tree.unresolved(node, `expected a call whose texts are in the source, got Effect.${member[1]}`)
    }
  }
}

/** An object that stands where it is used, or is a constant. */
const objectAt = (tree: SourceTree, node: Node): Node | undefined => {
  if (node.type === "ObjectExpression") return node
  const binding = tree.follow(node)
  if (binding.is !== "Value") return undefined
  return binding.node.type === "TSAsExpression" ? child(binding.node, "expression") : binding.node
}

/** Of `Effect.ignore` and `Effect.ignoreCause`, data first or last: the line of what they ignore, if it is logged. */
const ignoredIn = (tree: SourceTree, node: Node): ReadonlyArray<Line> => {
  const [, second] = argumentsOf(node)
  if (second !== undefined && objectAt(tree, second)?.type !== "ObjectExpression") {
    throw tree.unresolved(second, "expected the options as an object")
  }
  const objects = argumentsOf(node).flatMap((it) => objectAt(tree, it) ?? [])
  const options = objects.find((it) => propertyOf(it, "log") !== undefined)
  if (options === undefined && objects.every(({ type }) => type !== "ObjectExpression")) return []
  const message = propertyOf(options, "message")
  const level = ignoredLevels[textIn(propertyOf(options, "log"), "value")]
  if (level === undefined || message === undefined) throw tree.unresolved(node, "expected a level and a message")
  return [{ node, level, message, fields: new Set(["cause"]) }]
}

/** The keys of what a closing program notes for its last line, all of them: `yield* shutdown.notes`. */
const notesIn = (tree: SourceTree): KnownKeys => {
  const noted = tree.calls(
    (callee) =>
      memberOf(callee)?.[1] === "note" || (textIn(callee, "name") === "note" && tree.follow(callee).is === "Part"),
  )
  const known: KnownKeys = (node) => {
    const isNotes = node.type === "YieldExpression" && memberOf(child(node, "argument"))?.[1] === "notes"
    return isNotes ? noted.flatMap((call) => keysOf(tree, firstOf(tree, call), known)) : undefined
  }
  return known
}

export const linesOf = (tree: SourceTree) => {
  ensureReadable(tree)
  const lines: ReadonlyArray<Line> = [
    ...tree.calls(isOf("Effect", ...Object.keys(levels))).map((node) => ({
      node,
      level: levels[memberOf(child(node, "callee"))?.[1] ?? ""] ?? "",
      message: firstOf(tree, node),
      fields: new Set(argumentsOf(node).length > 1 ? ["cause"] : []),
    })),
    ...tree.calls(isOf("Effect", "ignore", "ignoreCause")).flatMap((node) => ignoredIn(tree, node)),
  ]

  const known = notesIn(tree)
  const linesIn = (outer: ReadonlyArray<Node>) => lines.filter((it) => outer.some((one) => tree.contains(one, it.node)))
  /** The lines that an effect may say. */
  const saidBy = (effect: Node): ReadonlyArray<Line> => {
    if (effect.type !== "Identifier") return linesIn([effect])
    const binding = tree.follow(effect)
    if (binding.is === "Value" || binding.is === "Part") return linesIn([binding.node])
    // Of `Effect.fnUntraced(function* () { ... }, (self) => ...)`: what the generator says.
    if (binding.is !== "Parameter" || binding.index !== 0) return []
    const call = tree.parentOf(binding.node)
    if (call?.type !== "CallExpression" || !isOf("Effect", "fn", "fnUntraced")(child(call, "callee"))) return []
    return linesIn(argumentsOf(call).filter((it) => it !== binding.node))
  }
  /** What an `annotateLogs` is about, and its fields; of one that is about whatever it is given, no lines. */
  const annotated = (call: Node) => {
    const [one, two, ...more] = argumentsOf(call)
    if (one === undefined || more.length > 0 || one.type === "Literal") {
      throw tree.unresolved(call, "expected the fields as one object")
    }
    if (two !== undefined) return { said: saidBy(one), fields: two }
    const pipe = tree.parentOf(call)
    const callee = pipe === undefined ? undefined : child(pipe, "callee")
    const piped = callee === undefined ? undefined : child(callee, "object")
    if (pipe === undefined || piped === undefined || memberOf(callee)?.[1] !== "pipe") return { fields: one }
    return { said: linesIn([piped, ...argumentsOf(pipe).slice(0, argumentsOf(pipe).indexOf(call))]), fields: one }
  }

  const carried = new Set<string>()
  for (const call of tree.calls(isOf("Effect", "annotateLogs"))) {
    const { fields, said } = annotated(call)
    const keys = keysOf(tree, fields, known)
    if (said?.length === 0) throw tree.unresolved(call, "annotates no line that can be found")
    for (const to of said === undefined ? [carried] : said.map((line) => line.fields))
      for (const key of keys) to.add(key)
  }
  for (const call of tree.calls(isOf("Context", "add"))) {
    const [key, value] = argumentsOf(call)
    if (memberOf(key)?.[1] !== "CurrentLogAnnotations" || value?.type !== "ObjectExpression") continue
    const own = children(value, "properties").filter(({ type }) => type === "Property") // beside those that are there
    for (const it of own) carried.add(textIn(child(it, "key"), "name"))
  }
  return { lines, carried }
}
