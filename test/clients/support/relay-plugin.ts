import { fileURLToPath } from 'node:url'
import { transformAsync } from '@babel/core'
import type { Plugin } from 'vite'

/** Puts what Relay's compiler has made in place of the documents, as the builds of frontends do. */
export const relay: Plugin = {
  name: 'relay',
  enforce: 'pre',
  async transform(code, id) {
    if (!/\/relay\/[^/]+\.ts$/.test(id) || !code.includes('graphql`')) return undefined
    const transformed = await transformAsync(code, {
      filename: id,
      cwd: fileURLToPath(new URL('..', import.meta.url)),
      babelrc: false,
      configFile: false,
      parserOpts: { plugins: ['typescript'] },
      plugins: [['babel-plugin-relay', { eagerEsModules: true }]],
    })
    return { code: transformed!.code!, map: null }
  },
}
