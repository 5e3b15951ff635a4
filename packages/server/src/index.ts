export { type RunServerOptions, runServer, type ServerEvent } from './run-server.ts'
