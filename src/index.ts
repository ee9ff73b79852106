export { openLoginProducer, type LoginProducer, type LoginProducerOptions } from './producer.ts'
export type { LoginResult, LoginSucceeded, SignedInUser } from './login/signed-in-user.ts'
export { loadConfig, type Config, type NamedKey, type SourceConfig } from './config.ts'
export {
  AccessDenied,
  ConfigInvalid,
  GraphUnavailable,
  InvalidLoginEvent,
  SyncError,
  Throttled,
  TokenRejected,
  type ConfigProblem,
  type ErrorCode,
} from './errors.ts'
