/** How every chart of the page is drawn: its colours, its axes, and a line at a value. */

/** @typedef {import("./uPlot.js").default} Plot */

/** @param {string} name */
export const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim()

export const axes = () => {
  const axis = () => ({
    stroke: color("--dim"),
    grid: { stroke: color("--line"), width: 0.5 },
    ticks: { show: false },
  })
  return [
    { ...axis(), size: 30, space: 70, values: "{HH}:{mm}:{ss}" },
    { ...axis(), size: 58 },
  ]
}

/**
 * @param {Plot} plot
 * @param {number} value
 * @param {string} text
 */
export const lineAt = (plot, value, text) => {
  const y = plot.valToPos(value, "y", true)
  const { left, width } = plot.bbox
  plot.ctx.save()
  plot.ctx.strokeStyle = color("--bad")
  plot.ctx.fillStyle = color("--bad")
  plot.ctx.setLineDash([6, 4])
  plot.ctx.beginPath()
  plot.ctx.moveTo(left, y)
  plot.ctx.lineTo(left + width, y)
  plot.ctx.stroke()
  plot.ctx.textAlign = "left"
  plot.ctx.textBaseline = "bottom"
  plot.ctx.fillText(text, left + 4, y - 2)
  plot.ctx.restore()
}
