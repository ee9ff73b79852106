import { CronExpressionParser } from 'cron-parser'
import { z } from 'zod'
import { integer } from './setting-shapes.ts'
import type { AbsentRule, ResyncSettings } from './source-config.ts'

const secondsOf = { m: 60, h: 3600, d: 86_400 } as const
const interval = /^every +(\d{1,5}) ?([mhd])$/

/** `off`, `every 6h`, or five fields of cron. */
export const scheduleText = z.string().superRefine((text, context) => {
  if (text === 'off' || isInterval(text) || isCron(text)) return
  context.addIssue(
    'must be off, an interval such as every 6h (at least 5m), or five fields of cron such as 0 3 * * *',
  )
})

export const timeZone = z.string().refine((name) => {
  try {
    return new Intl.DateTimeFormat('en', { timeZone: name }).resolvedOptions().timeZone !== ''
  } catch {
    return false
  }
}, 'must be the IANA name of a time zone, such as Europe/Berlin')

const absentPolicy = z.enum(['keep', 'freeze', 'remove'], 'must be keep, freeze or remove')

/** `off`, or `every 5m`. */
const deltaText = z
  .string()
  .refine(
    (text) => text === 'off' || (intervalOf(text) ?? 0) >= 60,
    'must be off, or an interval such as every 5m (at least 1m)',
  )

const notificationsText = z.enum(['on', 'off'], 'must be on or off')

const resyncRead = z.enum(['delegated', 'app'], 'must be delegated or app')

/** The settings of the one source that stands in the environment. */
export const resyncSettings = {
  RESYNC_SCHEDULE: scheduleText,
  RESYNC_TIME_ZONE: timeZone,
  RESYNC_READ: resyncRead,
  RESYNC_DELTA: deltaText,
  RESYNC_NOTIFICATIONS: notificationsText,
  RESYNC_MAX_AGE_HOURS: integer(0, 8760),
  RESYNC_SPREAD_MINUTES: integer(0, 1440),
  ABSENT_POLICY: absentPolicy,
  ABSENT_AFTER_DAYS: integer(1, 3650),
} as const

/** The same in a file of several. */
export const resyncShape = {
  schedule: scheduleText
    .optional()
    .describe(
      'When it starts by itself: off, an interval such as every 6h, or five fields of cron. Default: 0 3 * * *.',
    ),
  timeZone: timeZone.optional().describe('IANA name of the time zone that cron is by. Default: UTC.'),
  read: resyncRead
    .optional()
    .describe(
      'With whose tokens: delegated, each person’s own, or app, the app’s, which needs its application permissions. Default: delegated.',
    ),
  delta: deltaText
    .optional()
    .describe(
      'When the app asks what has changed: off, or an interval. Only with read: app. Default: every 5m with it.',
    ),
  notifications: notificationsText
    .optional()
    .describe(
      'Whether Graph tells the gateway of changes as they happen: on or off. Only with read: app and an https PUBLIC_URL. Default: on with them.',
    ),
  maxAgeHours: z.int().min(0).max(8760).optional().describe('Who was synced longer ago is due. Default: 20.'),
  spreadMinutes: z
    .int()
    .min(0)
    .max(1440)
    .optional()
    .describe('A scheduled one spreads those who are due over so many minutes. Default: 60.'),
  absent: absentPolicy
    .optional()
    .describe('What becomes of people whose tokens are gone and who do not come back. Default: keep.'),
  absentAfterDays: z
    .int()
    .min(1)
    .max(3650)
    .optional()
    .describe('Days since the last sign-in from which on somebody is absent. Default: 90.'),
}

export type ToldResync = {
  schedule?: string | undefined
  timeZone?: string | undefined
  read?: ResyncSettings['read'] | undefined
  delta?: string | undefined
  notifications?: 'on' | 'off' | undefined
  maxAgeHours?: number | undefined
  spreadMinutes?: number | undefined
  absent?: AbsentRule['policy'] | undefined
  absentAfterDays?: number | undefined
}

/** What was told, and for the rest: at three at night by UTC, whoever was last synced more than 20 hours before. */
export function resyncOf(told: ToldResync, { singleTenant = true } = {}): ResyncSettings {
  const { schedule = '0 3 * * *', timeZone: zone = 'UTC', maxAgeHours = 20, spreadMinutes = 60 } = told
  const { read = 'delegated', delta = 'every 5m' } = told
  const everySeconds = read === 'app' && singleTenant ? intervalOf(delta) : undefined
  return Object.freeze<ResyncSettings>({
    schedule: scheduleOf(schedule, zone),
    read,
    delta: everySeconds === undefined ? undefined : { everySeconds },
    notifications: read === 'app' && told.notifications !== 'off',
    maxAgeSeconds: maxAgeHours * 3600,
    spreadSeconds: spreadMinutes * 60,
    absent: Object.freeze({ policy: told.absent ?? 'keep', afterDays: told.absentAfterDays ?? 90 }),
  })
}

function scheduleOf(text: string, zone: string): ResyncSettings['schedule'] {
  if (text === 'off') return undefined
  const everySeconds = intervalOf(text)
  return everySeconds === undefined ? { cron: text, timeZone: zone } : { everySeconds }
}

function intervalOf(text: string): number | undefined {
  const [, count, unit] = interval.exec(text) ?? []
  if (unit !== 'm' && unit !== 'h' && unit !== 'd') return undefined
  return Number(count) * secondsOf[unit]
}

const isInterval = (text: string) => (intervalOf(text) ?? 0) >= 300

function isCron(text: string): boolean {
  // An H is any number, drawn anew each time.
  if (text.trim().split(/\s+/).length !== 5 || /(^|[\s,])H/i.test(text)) return false
  try {
    CronExpressionParser.parse(text)
    return true
  } catch {
    return false
  }
}
