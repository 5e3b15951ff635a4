export { type LogProblem, problemsInLog } from './log-problems.ts'
export {
  type AdjustableLogger,
  createPinoLogger,
  isLogLevel,
  LOG_LEVELS,
  type LogLevel,
  type PinoLoggerOptions,
} from './pino-logger.ts'
