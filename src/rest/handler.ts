import type { EntryRefusal } from '../auth/gate.ts'
import type { Outgoing } from '../http/message.ts'
import { contactRoutes } from './contacts.ts'
import { documentRoutes } from './document-routes.ts'
import { type ErrorStatus, invalidJson, RestError, reasons } from './errors.ts'
import { eventRoutes } from './events.ts'
import { organizationRoutes } from './organizations.ts'
import { createRouter, errorAnswer, type RouterOptions } from './router.ts'

/** Everything beneath `restPath`. */
export const restRoutes = [...organizationRoutes, ...contactRoutes, ...eventRoutes, ...documentRoutes]

/** Serves the REST API beneath `restPath`. */
export function createRestHandler(options: Omit<RouterOptions, 'routes'>) {
  return createRouter({ ...options, routes: restRoutes })
}

/** The answer to a request that could not be read: too long, or not UTF-8, which no JSON is. */
export function refuseUnreadable(status: number, message: string, isBody: boolean): Outgoing {
  return errorAnswer(status === 400 && isBody ? invalidJson() : new RestError(status, { message }))
}

/** The answer to a request that was not let in. */
export function refuseEntry({ status, message, headers }: EntryRefusal): Outgoing {
  const shown = status === 429 || status >= 500 ? reasons[status as ErrorStatus] : message
  return errorAnswer(new RestError(status, { message: shown }, headers))
}
