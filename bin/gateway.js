#!/usr/bin/env node
// Plain JavaScript, so that a Node that cannot read TypeScript can still say so.
const needed = 24
if (Number(process.versions.node.split('.')[0]) < needed) {
  console.error(
    `The contacts gateway needs Node ${needed} or later, and this is Node ${process.versions.node}: start it by an npm script (npm start), which brings its own.`,
  )
  process.exitCode = 1
} else {
  await import('./runtime.js')
  await import('../src/main.ts')
}
