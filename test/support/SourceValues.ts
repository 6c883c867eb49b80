/** The texts and the keys that an expression in a `SourceTree` can have, whichever way the program goes. */
import { bare, child, children, memberOf, type Node, type SourceTree, textIn } from "./SourceTree.ts"

/** Effects around a generator: a call of the result is a call of the generator. */
const functionMakers = new Set(["fn", "fnUntraced", "gen"])

/** Whether a callee is one of these, as `Effect.logInfo` is of `Effect`. */
export const isOf =
  (object: string, ...names: ReadonlyArray<string>) =>
  (callee: Node | undefined): boolean => {
    const member = memberOf(callee)
    return member?.[0] === object && names.includes(member[1])
  }

export const argumentsOf = (call: Node): ReadonlyArray<Node> => children(call, "arguments")

export const firstOf = (tree: SourceTree, call: Node): Node => {
  const [node] = argumentsOf(call)
  if (node === undefined) throw tree.unresolved(call, "expected an argument")
  return node
}

/** What a property of an object is set to, where it is written out. */
export const propertyOf = (object: Node | undefined, name: string): Node | undefined => {
  const found = (object === undefined ? [] : children(object, "properties")).find(
    (it) => textIn(child(it, "key"), "name") === name,
  )
  return found === undefined ? undefined : child(found, "value")
}

/** The name that this function is called by: of a constant, of a method or of a property. */
const nameOf = (tree: SourceTree, fn: Node): { readonly name: string; readonly declared: Node } | undefined => {
  if (fn.type === "FunctionDeclaration") return { name: textIn(child(fn, "id"), "name"), declared: fn }
  let value = fn
  for (let parent = tree.parentOf(fn); parent !== undefined; parent = tree.parentOf(parent)) {
    switch (parent.type) {
      case "VariableDeclarator":
        return { name: textIn(child(parent, "id"), "name"), declared: value }
      case "MethodDefinition":
        return { name: textIn(child(parent, "key"), "name"), declared: parent }
      case "CallExpression":
        if (!functionMakers.has(memberOf(child(parent, "callee"))?.[1] ?? "")) {
          const maker = child(parent, "callee") // of `Effect.fn("name")(fn)`
          if (maker?.type !== "CallExpression") return undefined
          if (!functionMakers.has(memberOf(child(maker, "callee"))?.[1] ?? "")) return undefined
        }
        value = parent
        break
      default:
        return undefined
    }
  }
  return undefined
}

/** Every call of a function. One that is handed on as a value has callers that cannot be known. */
const callsOf = (tree: SourceTree, fn: Node): ReadonlyArray<Node> => {
  const named = nameOf(tree, fn)
  if (named === undefined) throw tree.unresolved(fn, "expected a function with a name, to find its calls")
  const { declared, name } = named
  const isMethod = declared.type === "MethodDefinition"
  const leads = (node: Node) => {
    if (isMethod) {
      const isThis = node.type === "MemberExpression" && child(node, "object")?.type === "ThisExpression"
      const body = tree.parentOf(declared)
      return isThis && memberOf(node)?.[1] === name && body !== undefined && tree.contains(body, node)
    }
    if (node.type === "Identifier" ? textIn(node, "name") !== name : memberOf(node)?.[1] !== name) return false
    const binding = tree.follow(node)
    return "node" in binding && binding.node === declared
  }
  const isUse = (node: Node) => {
    const parent = tree.parentOf(node)
    const isKey = parent?.type === "Property" && child(parent, "key") === node && child(parent, "value") !== node
    const isName = parent?.type === "MemberExpression" && child(parent, "property") === node
    return !isKey && !isName && parent?.type !== "VariableDeclarator" && !parent?.type.startsWith("Import")
  }
  const uses = tree.nodes.filter(
    (node) => ["Identifier", "MemberExpression"].includes(node.type) && leads(node) && isUse(node),
  )
  return uses.map((use) => {
    const call = tree.parentOf(use)
    if (call?.type === "CallExpression" && child(call, "callee") === use) return call
    throw tree.unresolved(use, `expected a call of ${name}, whose argument is needed, got it as a value`)
  })
}

const argumentsFor = (tree: SourceTree, { index, node: fn }: { readonly node: Node; readonly index: number }) => {
  const given = callsOf(tree, fn).flatMap((call) => children(call, "arguments")[index] ?? [])
  if (given.length === 0) throw tree.unresolved(fn, `expected calls that give argument ${index + 1}, found none`)
  return given
}

const branchesOf = (node: Node): ReadonlyArray<Node> => {
  const names = node.type === "ConditionalExpression" ? ["consequent", "alternate"] : ["left", "right"]
  return names.flatMap((name) => child(node, name) ?? [])
}

/** What a text can be. */
export const textsOf = (tree: SourceTree, expression: Node): ReadonlyArray<string> => {
  const node = bare(expression)
  const all = (nodes: ReadonlyArray<Node>) => [...new Set(nodes.flatMap((it) => textsOf(tree, it)))]
  switch (node.type) {
    case "Literal":
      if (typeof node["value"] === "string") return [node["value"]]
      break
    case "TemplateLiteral": {
      const inner = children(node, "expressions").map((it) => textsOf(tree, it))
      const quasis = children(node, "quasis").map(({ value }) => (value as { readonly cooked: string }).cooked)
      return quasis
        .slice(1)
        .reduce<ReadonlyArray<string>>(
          (texts, quasi, index) => texts.flatMap((text) => (inner[index] ?? []).map((it) => text + it + quasi)),
          [quasis[0] ?? ""],
        )
    }
    case "ConditionalExpression":
      return all(branchesOf(node))
    case "MemberExpression":
    case "Identifier": {
      const binding = tree.follow(node)
      if (binding.is === "Value") return textsOf(tree, binding.node)
      if (binding.is === "Parameter") return all(argumentsFor(tree, binding))
    }
  }
  throw tree.unresolved(node, `expected a text that can be read from the source, got ${node.type}`)
}

/** The function that an expression makes when it is evaluated. */
const functionOf = (value: Node): Node | undefined => {
  const node = bare(value)
  if (node.type !== "CallExpression") return node.type.endsWith("FunctionExpression") ? node : undefined
  const isMaker = functionMakers.has(memberOf(child(node, "callee"))?.[1] ?? "")
  return isMaker ? children(node, "arguments").find(({ type }) => type.endsWith("FunctionExpression")) : undefined
}

const returnedBy = (tree: SourceTree, fn: Node): ReadonlyArray<Node> => {
  const body = child(fn, "body")
  if (body === undefined) return []
  if (body.type !== "BlockStatement") return [body]
  return tree.nodes.flatMap((node) =>
    node.type === "ReturnStatement" &&
    tree.contains(body, node) &&
    tree.ancestorsOf(node).find(({ type }) => type.includes("Function")) === fn
      ? (child(node, "argument") ?? [])
      : [],
  )
}

/** The keys of one property of an object, or of all that is spread there. */
const keysOfProperty = (tree: SourceTree, property: Node, known: KnownKeys): ReadonlyArray<string> => {
  if (property.type === "SpreadElement") return keysOf(tree, child(property, "argument") ?? property, known)
  const key = child(property, "key")
  if (key === undefined) return []
  if (property["computed"] === true || key.type === "Literal") return textsOf(tree, key)
  return [textIn(key, "name")]
}

/** Keys of what a tree cannot tell; none for all other expressions. */
export type KnownKeys = (node: Node) => ReadonlyArray<string> | undefined

/** The keys that an object can have. */
export const keysOf = (tree: SourceTree, expression: Node, known: KnownKeys): ReadonlyArray<string> => {
  const node = bare(expression)
  const all = (nodes: ReadonlyArray<Node>) => [...new Set(nodes.flatMap((it) => keysOf(tree, it, known)))]
  const told = known(node)
  if (told !== undefined) return told
  switch (node.type) {
    case "ObjectExpression":
      return [...new Set(children(node, "properties").flatMap((it) => keysOfProperty(tree, it, known)))]
    case "ConditionalExpression":
    case "LogicalExpression":
      return all(branchesOf(node))
    case "CallExpression": {
      const binding = tree.follow(child(node, "callee") ?? node)
      const fn =
        binding.is === "Value" ? functionOf(binding.node) : binding.is === "Function" ? binding.node : undefined
      if (fn !== undefined) return all(returnedBy(tree, fn))
      break
    }
    case "MemberExpression":
    case "Identifier": {
      const binding = tree.follow(node)
      if (binding.is === "Value") return keysOf(tree, binding.node, known)
      if (binding.is === "Parameter") return all(argumentsFor(tree, binding))
    }
  }
  throw tree.unresolved(node, `expected an object whose keys can be read from the source, got ${node.type}`)
}
