/**
 * How the command line answers: help that was asked for goes to standard output, and what is wrong with a call to standard error, with one
 * line of how it is used, so that a pipe never gets a page of help in place of an answer.
 */
import { Console, Effect } from "effect"
import { CliOutput } from "effect/cli"

export const layer = CliOutput.layerPresenter({
  present: Effect.fnUntraced(function* (event) {
    if (event._tag !== "InvalidInvocation") return yield* CliOutput.defaultPresenter.present(event)
    const formatter = yield* CliOutput.Formatter
    const { commandPath, errors, helpDoc } = event
    yield* Console.error(`${formatter.formatErrors(errors).trim()}\n\nusage: ${helpDoc.usage}`)
    yield* Console.error(`more:  ${commandPath.join(" ")} --help`)
  }),
})

/** What people type in place of a flag. */
export const spelled = ([first, ...rest]: ReadonlyArray<string>): ReadonlyArray<string> => {
  if (first === "help") return [...rest, "--help"]
  if (first === "version" && rest.length === 0) return ["--version"]
  return first === undefined ? [] : [first, ...rest]
}
