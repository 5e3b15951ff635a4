export type { PlaceEnd } from '@hanse/session'
export { type RunServerOptions, runServer, type ServerEvent } from './run-server.ts'
