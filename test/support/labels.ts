/** What every line about a database says of it, beside its own fields. */
import type * as LogCapture from "../../src/testing/LogCapture.ts"

/** The fields of a line that are its own. */
export const ownFields = ({ fields }: LogCapture.Entry) =>
  Object.fromEntries(Object.entries(fields).filter(([name]) => name !== "database" && name !== "logger"))
