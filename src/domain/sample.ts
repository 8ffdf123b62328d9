import type { SeedOrganization } from './seed.ts'

/** The sample of the REST API's page, organization Best IT with its ids, and a small tree beneath and beside it. */
export const sampleOrganizations: SeedOrganization[] = [
  {
    id: 1,
    name: 'Best IT',
    contacts: [
      { id: 68, label: 'general', channel: 'telephone', value: '+1 (203) 413 4880', integration: true },
      { id: 67, label: 'service_desk', channel: 'telephone', value: '+1 (800) 4-BEST-IT or +1 (800) 423 7848' },
      { id: 70, label: 'fax', channel: 'telephone', value: '+1 (203) 413 4881' },
      { id: 65, label: 'general', channel: 'email', value: 'info@best-it.com' },
      { id: 69, label: 'service_desk', channel: 'email', value: 'helpdesk@best-it.com' },
      { id: 66, label: 'general', channel: 'website', value: 'www.best-it.com' },
      { id: 71, label: 'service_desk', channel: 'website', value: 'www.support.best-it.com' },
    ],
  },
  {
    id: 2,
    name: 'Best IT Europe',
    parent: 'Best IT',
    source: 'HR',
    sourceId: 'EU-01',
    contacts: [
      { id: 72, label: 'general', channel: 'telephone', value: '+44 20 7946 0120' },
      { id: 73, label: 'service_desk', channel: 'email', value: 'helpdesk.eu@best-it.example' },
      { id: 74, label: 'general', channel: 'website', value: 'https://www.best-it.example/europe' },
    ],
  },
  {
    id: 3,
    name: 'Best IT Asia Pacific',
    parent: 'Best IT',
    source: 'HR',
    sourceId: 'AP-01',
    contacts: [
      { id: 75, label: 'general', channel: 'telephone', value: '+61 2 5550 1200' },
      { id: 76, label: 'service_desk', channel: 'email', value: 'helpdesk.apac@best-it.example' },
    ],
  },
  {
    id: 4,
    name: 'Best IT London',
    parent: 'Best IT Europe',
    source: 'HR',
    sourceId: 'EU-02',
    contacts: [
      { id: 77, label: 'general', channel: 'telephone', value: '+44 20 7946 0121' },
      { id: 78, label: 'service_desk_fax', channel: 'telephone', value: '+44 20 7946 0122' },
    ],
  },
  {
    id: 5,
    name: 'Harbour Freight Forwarding',
    contacts: [
      { id: 79, label: 'general', channel: 'telephone', value: '+31 20 794 0810' },
      { id: 80, label: 'general', channel: 'email', value: 'office@harbour.example' },
      { id: 81, label: 'general', channel: 'website', value: 'harbour.example' },
    ],
  },
  {
    id: 6,
    name: 'Harbour Warehouse',
    parent: 'Harbour Freight Forwarding',
    disabled: true,
    contacts: [{ id: 82, label: 'fax', channel: 'telephone', value: '+31 20 794 0811' }],
  },
]
