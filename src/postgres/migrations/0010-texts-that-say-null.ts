import { Migration } from "@mikro-orm/migrations";

const COLUMNS = [
  ["users", "scopes"],
  ["api_keys", "scopes"],
  ["api_keys", "allowed_ips"],
  ["api_keys", "allowed_methods"],
] as const;

/**
 * Repairs elements of arrays that say `null`, in upper or lower case. They were written as NULL, and a key with such a
 * scope was unreadable.
 */
export class TextsThatSayNull extends Migration {
  override name = "0010-texts-that-say-null";

  override up(): void {
    for (const [table, column] of COLUMNS) {
      this.addSql(
        `update ${table} set ${column} = array_replace(${column}, null, 'null') where array_position(${column}, null) is not null`,
      );
    }
  }
}
