import Hummingbird

/// Orders as a handler sees them that knows nothing of other hosts: what is coalesced here are responses.
enum Orders {
    /// The last ones. Slow, and counted by the database.
    static func list(_ tenant: String) async throws -> String {
        _ = try await Postgres.query("INSERT INTO queries (name, tenant) VALUES ('orders', $1)", tenant)
        _ = try await Postgres.query("SELECT pg_sleep(4)")
        let rows = try await Postgres.query(
            "SELECT id, amount FROM orders WHERE tenant = $1 ORDER BY id DESC LIMIT 3",
            tenant
        )
        return rows.map { "order \($0[0]): \($0[1])\n" }.joined()
    }

    static func place(_ amount: String, tenant: String, key: String) async throws -> Response {
        guard let amount = Int(amount), amount > 0 else { throw HTTPError(.badRequest, message: "no amount") }
        // At least once is not exactly once: the key is unique in the table, too.
        let rows = try await Postgres.query(
            """
            INSERT INTO orders (tenant, idempotency_key, amount) VALUES ($1, $2, $3)
            ON CONFLICT (tenant, idempotency_key) DO UPDATE SET amount = orders.amount RETURNING id
            """,
            tenant,
            key,
            "\(amount)"
        )
        guard let id = rows.first?.first else { throw HTTPError(.internalServerError) }
        return Response(
            status: .created,
            headers: [.contentType: "text/plain", .location: "/tenants/\(tenant)/orders/\(id)"],
            body: ResponseBody(byteBuffer: ByteBuffer(string: "order \(id)\n"))
        )
    }
}
