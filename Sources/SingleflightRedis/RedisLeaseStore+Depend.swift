import HiredisClient
import SingleflightLease

/// Circles of flights that wait for one another.
extension RedisLeaseStore {
    /// Notes at each enclosing flight what it waits for, and only then reads what that waits for in turn: of two
    /// processes that do so at the same time at least one sees the other's note.
    func depend(_ request: DependRequest, reply: @escaping ReplyHandler<LeaseReply>) {
        self.submit(reply) { done in
            Task {
                do throws(LeaseStoreError) {
                    done(.success(.depend(try await self.circle(request))))
                } catch {
                    done(.failure(error))
                }
            }
        }
    }

    private func circle(_ request: DependRequest) async throws(LeaseStoreError) -> DependReply {
        let awaited = CircleSearch.Flight(name: Keyspace.placedName(of: request.key), token: request.token)
        var search = CircleSearch(from: awaited, to: request.enclosing.map(\.token))
        if search.isClosedAtOnce { return .circular(path: ["\(request.key)"]) }
        for flight in request.enclosing {
            try await self.note(flight, waitsFor: awaited)
        }
        while !search.wanted.isEmpty {
            if let path = search.learned(try await self.awaited(by: search.wanted)) {
                return .circular(path: path.map(Self.shown))
            }
        }
        return .noted
    }

    private func note(
        _ flight: EnclosingFlight,
        waitsFor awaited: CircleSearch<String>.Flight
    ) async throws(LeaseStoreError) {
        let names = self.keyspace.names(of: flight.key)
        let arguments: [RedisArgument] = [
            .string(flight.token.description), .string("\(awaited.name) \(awaited.token)\n"),
        ]
        let result = await withCheckedContinuation { continuation in
            self.send(LeaseScripts.depend, names, [names.lease], arguments) { continuation.resume(returning: $0) }
        }
        switch result {
        case .success(let value):
            let reply = try ScriptReply.checked(value)
            // A flight that is led no longer waits for nothing.
            guard reply.word == "OK" || reply.word == "LOST" else { throw reply.unexpected }
        case .failure(let error):
            throw LeaseStoreError(error)
        }
    }

    /// What each of these flights waits for, as far as it is still led.
    private func awaited(
        by flights: [CircleSearch<String>.Flight]
    ) async throws(LeaseStoreError) -> [[CircleSearch<String>.Flight]] {
        let names = flights.map { self.keyspace.leaseName(placed: $0.name) }
        let questions = names.map { place in
            (RedisCommand("GET", place?.name ?? ""), place.map { RedisOrder.none(in: $0.slot) } ?? .none)
        }
        let replies = await self.results(of: questions)
        return zip(flights, replies).map { flight, reply in
            // Whatever cannot be read is no flight that waits.
            guard case .success(let value) = reply, let record = value.bytes.flatMap(LeaseRecord.init(bytes:)),
                record.token == flight.token
            else { return [] }
            return record.awaited
        }
    }

    /// A name as people read it.
    private static func shown(placed name: String) -> String {
        guard let colon = name.firstIndex(of: ":"), let flight = FlightName(name[name.index(after: colon)...]) else {
            return name
        }
        return "\(flight.group):\(flight.text ?? flight.encodedKey)"
    }
}
