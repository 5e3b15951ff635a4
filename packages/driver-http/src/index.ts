export { http } from './http.ts'
export type { HttpOptions } from './http-options.ts'
