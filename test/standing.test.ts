import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import { findStanding } from '../db/admissions.ts'
import { givenDatabase } from './support/database.ts'
import { newPerson, storePerson } from './support/sessions.ts'

const database = givenDatabase()

test.each([
  ['synced', true],
  ['needs_login', true],
  ['held', false],
])('a person whose last state is %s counts as a member of what is stored: %s', async (state, member) => {
  const person = newPerson()
  const groupId = randomUUID()
  const userId = await storePerson(database.db, person, { state })
  await database.db.$client`
    with made as (insert into groups (tenant_id, object_id) values (${person.tenantId}, ${groupId}) returning id)
    insert into memberships (user_id, group_id, origin) select ${userId}, id, 'entra' from made`
  const asked = { ...person, source: 'entra-id', userPrincipalName: undefined }
  expect(await findStanding(database.db, { ...asked, groupIds: [groupId] })).toMatchObject({ userId, member })
  expect(await findStanding(database.db, { ...asked, groupIds: [randomUUID()] })).toMatchObject({
    member: false,
  })
})
