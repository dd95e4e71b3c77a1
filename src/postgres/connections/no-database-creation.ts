interface Extensible {
  readonly config: { registerExtension(name: string, make: () => unknown): void };
}

/**
 * A replacement of the ORM's schema generator that creates no database. The ORM and its migrator use only its
 * `ensureDatabase`, which would create a missing database. A misspelt name would then lead to a new, empty database, in
 * which every key is INVALID.
 */
export const NoDatabaseCreation = {
  // The ORM looks extensions up by this name.
  name: "NoDatabaseCreation",
  register(orm: Extensible): void {
    orm.config.registerExtension("@mikro-orm/schema-generator", () => ({ ensureDatabase: async () => false }));
  },
};
