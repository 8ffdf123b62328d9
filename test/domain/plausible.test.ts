import { describe, expect, it } from 'vitest'
import { channelLabels, maxLength } from '../../src/db/tables.ts'
import { channels } from '../../src/domain/channels.ts'
import { countCodePoints, line, parse } from '../../src/domain/parse.ts'
import { groupSize, plausibleOrganization } from '../../src/domain/plausible.ts'
import { findNumbers } from '../../src/domain/telephone.ts'

const many = 50_000
const countries = ['US', 'GB', 'DE', 'FR', 'SE', 'PL', 'JP', 'GR', 'BR', 'AU']
/** Enough of each country for every notation of a telephone to occur often. */
const some = 20 * countries.length * groupSize
/** More than there are slots, so that they repeat. */
const contactsEach = 16

const organizationsUpTo = (count: number, contacts: number) =>
  Array.from({ length: count }, (_, index) => plausibleOrganization(index, contacts))

/** Group after group belongs to country after country. */
const countryOf = (index: number) => countries[Math.floor(index / groupSize) % countries.length]!

describe('plausible organizations', () => {
  it('are the same for the same index, whatever was made before', () => {
    const forward = organizationsUpTo(500, contactsEach)

    const backward = Array.from({ length: 500 }, (_, i) => plausibleOrganization(499 - i, contactsEach)).reverse()

    expect(backward).toEqual(forward)
  })

  it('tell their place as their id in the source', () => {
    expect(plausibleOrganization(0, 0)).toMatchObject({
      source: 'seed',
      sourceId: '1',
      parent: undefined,
      contacts: [],
    })
    expect(plausibleOrganization(many, 0)).toMatchObject({ source: 'seed', sourceId: '50001', contacts: [] })
  })

  it('have the same first contacts however many they have', () => {
    const [few, more] = [plausibleOrganization(42, 5), plausibleOrganization(42, contactsEach)]

    expect(more).toEqual({ ...few, contacts: [...few.contacts, ...more.contacts.slice(5)] })
  })

  it('have names of their own', () => {
    const names = organizationsUpTo(many, 0).map(({ name }) => name)

    expect(new Set(names).size).toBe(many)
  })

  it('have names and sources that can be stored', () => {
    const rules = {
      name: line('Name', maxLength.organizationName),
      source: line('Source', maxLength.source),
      sourceId: line('SourceID', maxLength.sourceId),
    }

    for (const { name, source, sourceId } of organizationsUpTo(many, 0)) {
      expect(parse(rules.name, name)).toBe(name)
      expect(parse(rules.source, source)).toBe(source)
      expect(parse(rules.sourceId, sourceId)).toBe(sourceId)
    }
  })

  it('have parents at a lower index of the same group', () => {
    const organizations = organizationsUpTo(many, 0)
    const indexes = new Map(organizations.map(({ name }, index) => [name, index]))

    const misplaced = organizations.flatMap(({ name, parent }, index) => {
      if (parent === undefined) return index % groupSize === 0 ? [] : [name]
      const parentIndex = indexes.get(parent)
      const fits =
        parentIndex !== undefined &&
        parentIndex < index &&
        Math.floor(parentIndex / groupSize) === Math.floor(index / groupSize)
      return fits ? [] : [name]
    })

    expect(misplaced).toEqual([])
  })

  it('stand in three levels: one root, four branches, and the rest spread beneath them', () => {
    const organizations = organizationsUpTo(groupSize * 40, 0)
    const depths = new Map<string, number>()
    for (const { name, parent } of organizations) depths.set(name, parent === undefined ? 0 : depths.get(parent)! + 1)

    const levels = Array.from({ length: 40 }, (_, group) => {
      const members = organizations.slice(group * groupSize, (group + 1) * groupSize)
      const childrenOfBranches = members
        .filter(({ name }) => depths.get(name) === 1)
        .map(({ name }) => members.filter(({ parent }) => parent === name).length)
      return [0, 1, 2, 3]
        .map((depth) => members.filter(({ name }) => depths.get(name) === depth).length)
        .concat(childrenOfBranches)
    })

    expect(levels).toEqual(Array(40).fill([1, 4, 20, 0, 5, 5, 5, 5]))
  })

  it('are disabled here and there', () => {
    const disabled = organizationsUpTo(some, 0).filter((organization) => organization.disabled).length

    expect(disabled / some).toBeGreaterThan(0.03)
    expect(disabled / some).toBeLessThan(0.07)
  })
})

describe('plausible contacts', () => {
  const contacts = organizationsUpTo(some, contactsEach).flatMap((organization, index) =>
    organization.contacts.map((contact) => ({ ...contact, country: countryOf(index) })),
  )
  const rules = {
    telephone: line('Telephone', maxLength.contactValue, channels.telephone.refuse),
    email: line('Email', maxLength.contactValue, channels.email.refuse),
    website: line('Website', maxLength.contactValue, channels.website.refuse),
  }

  it('pass the checks of their channel unchanged', () => {
    for (const { channel, value } of contacts) expect(parse(rules[channel], value)).toBe(value)
  })

  it('fit the column', () => {
    const longest = Math.max(...contacts.map(({ value }) => countCodePoints(value)))

    expect(longest).toBeLessThanOrEqual(maxLength.contactValue)
  })

  it('have labels of their channel', () => {
    const misfits = contacts.filter(
      ({ channel, label }) => !(channelLabels[channel] as readonly string[]).includes(label),
    )

    expect(misfits).toEqual([])
  })

  it('are a telephone, an e-mail address and a website before anything else', () => {
    const { contacts } = plausibleOrganization(7, 7)

    expect(contacts.map(({ channel, label }) => `${channel} ${label}`)).toEqual([
      'telephone general',
      'email general',
      'website general',
      'telephone service_desk',
      'email service_desk',
      'telephone fax',
      'website service_desk',
    ])
  })

  it('have e-mail addresses and websites of their own, the first seven of each organization', () => {
    const values = organizationsUpTo(some, 7)
      .flatMap((organization) => organization.contacts)
      .filter(({ channel }) => channel !== 'telephone')
      .map(({ value }) => value)

    expect(values.length - new Set(values).size).toBe(0)
  })

  it('make links and keys', () => {
    const linkless = contacts.filter(
      ({ channel, value }) => channel !== 'telephone' && channels[channel].href(value) === null,
    )
    const keyless = contacts.filter(({ channel, value }) => channels[channel].lookupKeys(value).length === 0)

    expect([...linkless, ...keyless]).toEqual([])
  })

  it('are maintained by an integration here and there', () => {
    const share = contacts.filter(({ integration }) => integration).length / contacts.length

    expect(share).toBeGreaterThan(0.08)
    expect(share).toBeLessThan(0.12)
  })

  it.each(countries)('have telephones that hold one valid number, nine in ten at least: %s', (country) => {
    const telephones = contacts.filter((contact) => contact.channel === 'telephone' && contact.country === country)

    const valid = telephones.filter(({ value }) => findNumbers(value).length === 1)

    expect(valid.length / telephones.length).toBeGreaterThanOrEqual(0.9)
  })
})
