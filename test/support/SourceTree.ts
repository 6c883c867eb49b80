/**
 * Source files as syntax trees, and what an expression in them can be: the texts of a message, the keys of an object. A name
 * is followed to where it is declared, through imports too, and a parameter to every call of its function.
 *
 * What cannot be followed is an `Unresolved` that says where it stands, so that a reader of the tree never misses anything
 * without knowing.
 */
import * as fs from "node:fs"
import * as path from "node:path"
import { parseAst } from "vitest/node"

/** One part of a syntax tree, as https://github.com/estree/estree and its extension for TypeScript name it. */
export interface Node {
  readonly type: string
  readonly start: number
  readonly end: number
  readonly [property: string]: unknown
}

/** Trees that were parsed before: most files of two versions of a source are the same. */
const parsed = new Map<string, Node>()

/** The text of each file by its path from the root of the repository. */
export type Texts = ReadonlyMap<string, string>

export class Unresolved extends Error {}

const isNode = (value: unknown): value is Node => typeof value === "object" && value !== null && "type" in value

export const child = (node: Node, property: string): Node | undefined => {
  const value = node[property]
  return isNode(value) ? value : undefined
}

export const children = (node: Node, property: string): ReadonlyArray<Node> => {
  const value = node[property]
  return Array.isArray(value) ? value.filter(isNode) : []
}

export const textIn = (node: Node | undefined, property: string): string => {
  const value = node?.[property]
  return typeof value === "string" ? value : ""
}

const isFunction = ({ type }: Node) =>
  type === "ArrowFunctionExpression" || type === "FunctionExpression" || type === "FunctionDeclaration"

const wrappers = new Set([
  "ParenthesizedExpression",
  "TSAsExpression",
  "TSSatisfiesExpression",
  "TSNonNullExpression",
  "ChainExpression",
])

/** An expression without what only a reader or the compiler needs around it. */
export const bare = (node: Node): Node => {
  const inner = wrappers.has(node.type) ? child(node, "expression") : undefined
  return inner === undefined ? node : bare(inner)
}

/** `object.property` as two names; of anything else none. */
export const memberOf = (node: Node | undefined): readonly [object: string, property: string] | undefined => {
  if (node?.type !== "MemberExpression" || node["computed"] === true) return undefined
  return [textIn(child(node, "object"), "name"), textIn(child(node, "property"), "name")]
}

/** Where a name comes from. `Part`: of something that is taken apart, whose value is `node`. */
export type Binding =
  | { readonly is: "Value" | "Part" | "Function"; readonly node: Node }
  | { readonly is: "Parameter"; readonly node: Node; readonly index: number }
  | { readonly is: "Namespace"; readonly module: string }
  | { readonly is: "Unknown" }

/** Every name in a pattern, and whether it is the whole of it. */
const namesIn = (pattern: Node): ReadonlyArray<string> => {
  switch (pattern.type) {
    case "Identifier":
      return [textIn(pattern, "name")]
    case "ObjectPattern":
      return children(pattern, "properties").flatMap((it) => namesIn(child(it, "value") ?? child(it, "argument") ?? it))
    case "ArrayPattern":
      return children(pattern, "elements").flatMap(namesIn)
    case "AssignmentPattern":
      return namesIn(child(pattern, "left") ?? pattern)
    case "RestElement":
      return namesIn(child(pattern, "argument") ?? pattern)
    default:
      return []
  }
}

/** The TypeScript files below a folder, declarations apart. */
export const readTexts = (root: string, folder: string): Texts =>
  new Map(
    fs
      .readdirSync(path.join(root, folder), { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".ts") && !name.endsWith(".d.ts"))
      .toSorted()
      .map((name) => {
        const file = path.posix.join(folder, name.split(path.sep).join("/"))
        return [file, fs.readFileSync(path.join(root, file), "utf8")]
      }),
  )

export class SourceTree {
  readonly nodes: ReadonlyArray<Node>
  private readonly roots = new Map<string, Node>()
  private readonly parents = new Map<Node, Node>()
  private readonly files = new Map<Node, string>()
  private readonly texts: Texts

  constructor(texts: Texts) {
    this.texts = texts
    const all: Array<Node> = []
    const walk = (node: Node, file: string) => {
      all.push(node)
      this.files.set(node, file)
      for (const value of Object.values(node)) {
        for (const inner of Array.isArray(value) ? value : [value]) {
          if (!isNode(inner)) continue
          this.parents.set(inner, node)
          walk(inner, file)
        }
      }
    }
    for (const [file, text] of texts) {
      const root = parsed.get(text) ?? (parseAst(text, { lang: "ts" }) as unknown as Node)
      parsed.set(text, root)
      this.roots.set(file, root)
      walk(root, file)
    }
    this.nodes = all
  }

  fileOf = (node: Node): string => this.files.get(node) ?? ""

  parentOf = (node: Node): Node | undefined => this.parents.get(node)

  ancestorsOf(node: Node): ReadonlyArray<Node> {
    const all: Array<Node> = []
    for (let at = this.parentOf(node); at !== undefined; at = this.parentOf(at)) all.push(at)
    return all
  }

  contains = (outer: Node, inner: Node): boolean =>
    this.fileOf(outer) === this.fileOf(inner) && outer.start <= inner.start && inner.end <= outer.end

  where(node: Node): string {
    const file = this.fileOf(node)
    return `${file}:${(this.texts.get(file) ?? "").slice(0, node.start).split("\n").length}`
  }

  unresolved = (node: Node, why: string) => new Unresolved(`${this.where(node)}: ${why}`)

  calls(matches: (callee: Node) => boolean): ReadonlyArray<Node> {
    return this.nodes.filter((node) => {
      const callee = node.type === "CallExpression" ? child(node, "callee") : undefined
      return callee !== undefined && matches(callee)
    })
  }

  /** What a name means where it stands. */
  bindingOf(name: string, at: Node): Binding {
    for (const scope of this.ancestorsOf(at)) {
      if (isFunction(scope)) {
        const index = children(scope, "params").findIndex((it) => namesIn(it).includes(name))
        const parameter = children(scope, "params")[index]
        if (parameter?.type === "Identifier") return { is: "Parameter", node: scope, index }
        if (parameter !== undefined) return { is: "Unknown" }
      }
      if (scope.type !== "BlockStatement" && scope.type !== "Program") continue
      for (const statement of children(scope, "body")) {
        const declared = this.declared(name, statement)
        if (declared !== undefined) return declared
      }
    }
    return { is: "Unknown" }
  }

  /** What an exported, or any other top name of a file means there. */
  private topOf(name: string, file: string): Binding {
    for (const statement of children(this.roots.get(file) ?? { type: "", start: 0, end: 0 }, "body")) {
      const declared = this.declared(name, statement)
      if (declared !== undefined) return declared
    }
    return { is: "Unknown" }
  }

  private declared(name: string, statement: Node): Binding | undefined {
    if (statement.type === "ImportDeclaration") return this.imported(name, statement)
    if (statement.type === "ExportNamedDeclaration") {
      const inner = child(statement, "declaration")
      return inner === undefined ? undefined : this.declared(name, inner)
    }
    if (statement.type === "FunctionDeclaration" && textIn(child(statement, "id"), "name") === name) {
      return { is: "Function", node: statement }
    }
    if (statement.type !== "VariableDeclaration") return undefined
    for (const declarator of children(statement, "declarations")) {
      const pattern = child(declarator, "id")
      const value = child(declarator, "init")
      if (pattern === undefined || !namesIn(pattern).includes(name)) continue
      if (value === undefined) return { is: "Unknown" }
      return { is: pattern.type === "Identifier" ? "Value" : "Part", node: value }
    }
    return undefined
  }

  private imported(name: string, declaration: Node): Binding | undefined {
    const specifier = children(declaration, "specifiers").find((it) => textIn(child(it, "local"), "name") === name)
    if (specifier === undefined) return undefined
    const from = textIn(child(declaration, "source"), "value")
    if (!from.startsWith(".")) return { is: "Unknown" }
    const module = path.posix.join(path.posix.dirname(this.fileOf(declaration)), from)
    if (specifier.type === "ImportNamespaceSpecifier") return { is: "Namespace", module }
    return this.topOf(textIn(child(specifier, "imported"), "name"), module)
  }

  /** What `name` or `Namespace.name` leads to. */
  follow(node: Node): Binding {
    if (node.type === "Identifier") return this.bindingOf(textIn(node, "name"), node)
    const member = memberOf(node)
    const object = member === undefined ? undefined : this.bindingOf(member[0], node)
    return member === undefined || object?.is !== "Namespace" ? { is: "Unknown" } : this.topOf(member[1], object.module)
  }
}
