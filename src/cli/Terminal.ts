/** Text that fits a terminal: a line that wraps, or text higher than the window, could not be drawn over. */

/** The size in characters; some terminals do not know theirs. */
export interface Size {
  readonly columns?: number
  readonly rows?: number
}

const defaults = { columns: 80, rows: 24 }

const columnsOf = ({ columns }: Size) => columns || defaults.columns

/** One line, with a mark where it was cut; the last column stays empty, where some terminals wrap already. */
export const cut = (line: string, size: Size): string => {
  const width = columnsOf(size) - 1
  return line.length <= width ? line : `${line.slice(0, Math.max(0, width - 1))}…`
}

/** The first lines, and how many are not shown; the last row stays free for the cursor. */
export const cutText = (text: string, size: Size): string => {
  const lines = text.split("\n")
  const rows = Math.max(1, (size.rows || defaults.rows) - 1)
  if (lines.length <= rows) return lines.map((line) => cut(line, size)).join("\n")
  const shown = lines.slice(0, rows - 1)
  return [...shown, `… ${lines.length - shown.length} more lines`].map((line) => cut(line, size)).join("\n")
}

/** How many rows a line takes that was drawn when the window was wider. */
export const rowsOf = (line: string, size: Size): number => Math.max(1, Math.ceil(line.length / columnsOf(size)))
