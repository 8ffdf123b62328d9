import { openApiDocument } from './openapi.ts'
import { referencePage } from './reference.ts'
import type { Route } from './router.ts'

/** The page loads nothing and runs nothing. */
const pagePolicy =
  "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

export const documentRoutes: readonly Route[] = [
  { method: 'GET', path: '/openapi', isOpen: true, handle: () => ({ status: 200, body: openApiDocument() }) },
  {
    method: 'GET',
    path: '/docs',
    type: 'text/html',
    isOpen: true,
    handle: () => ({
      status: 200,
      body: referencePage(openApiDocument()),
      headers: { 'content-security-policy': pagePolicy },
    }),
  },
]
