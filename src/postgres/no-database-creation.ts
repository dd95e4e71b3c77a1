interface Extensible {
  readonly config: { registerExtension(name: string, make: () => unknown): void };
}

/**
 * In place of the ORM's schema generator, of which the ORM and its migrator use `ensureDatabase` alone. That one creates
 * a database that does not exist: a misspelt name would be a new, empty database, in which every key is INVALID.
 */
export const NoDatabaseCreation = {
  // The ORM looks extensions up by this name.
  name: "NoDatabaseCreation",
  register(orm: Extensible): void {
    orm.config.registerExtension("@mikro-orm/schema-generator", () => ({ ensureDatabase: async () => false }));
  },
};
