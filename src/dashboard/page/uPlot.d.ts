/** The charts, which the server gives the page from the package `uplot`. */
export { default } from "uplot"
