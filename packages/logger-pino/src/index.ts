export {
  createPinoLogger,
  isLogLevel,
  LOG_LEVELS,
  type LogLevel,
  type PinoLoggerOptions,
} from './pino-logger.ts'
