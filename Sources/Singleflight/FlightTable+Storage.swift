// The open flights hang in buckets, chained through their slots; the free slots hang in a list, chained the same way.

extension FlightTable {
    /// Whether the flight of this identity is still kept.
    @inlinable
    func holds(_ id: FlightID) -> Bool {
        id.slot < self.slots.count && self.slots[id.slot].serial == id.serial
    }

    /// The slot of the open flight of a key, or -1.
    @inlinable
    func find(_ key: Key, hash: Int) -> Int {
        guard self.openCount > 0 else { return -1 }
        var slot = self.buckets[self.bucket(of: hash)]
        while slot >= 0 {
            if self.slots[slot].hash == hash, self.slots[slot].key == key { return slot }
            slot = self.slots[slot].next
        }
        return -1
    }

    /// The lowest bits of a hash choose the shard, so the buckets are chosen by higher ones.
    @inlinable
    func bucket(of hash: Int) -> Int {
        (hash >> 16) & (self.buckets.count - 1)
    }

    /// Starts a flight for a key that has none.
    @inlinable
    mutating func open(_ key: Key, hash: Int) -> FlightID {
        self.lastSerial += 1
        let slot: Int
        if self.firstFree >= 0 {
            slot = self.firstFree
            self.firstFree = self.slots[slot].next
            self.slots[slot].occupy(serial: self.lastSerial, hash: hash, key: key)
        } else {
            slot = self.slots.count
            self.slots.append(Slot(serial: self.lastSerial, hash: hash, key: key))
        }
        self.usedCount += 1
        self.openCount += 1
        if self.openCount > self.buckets.count {
            self.rehash()
        } else {
            self.hang(slot)
        }
        return FlightID(slot: slot, serial: self.lastSerial)
    }

    /// Makes a flight impossible to find by its key.
    @inlinable
    mutating func close(_ slot: Int) {
        let bucket = self.bucket(of: self.slots[slot].hash)
        let next = self.slots[slot].next
        if self.buckets[bucket] == slot {
            self.buckets[bucket] = next
        } else {
            var previous = self.buckets[bucket]
            while self.slots[previous].next != slot { previous = self.slots[previous].next }
            self.slots[previous].next = next
        }
        self.slots[slot].isOpen = false
        self.openCount -= 1
    }

    /// What follows from a transition for the table: a finished flight is closed, and a spent one's slot is free again.
    @inlinable
    mutating func settle(_ slot: Int, _ remains: inout Remains) {
        let settlement = self.slots[slot].flight.settle()
        if case .running = settlement { return }
        if self.slots[slot].isOpen { self.close(slot) }
        guard case .spent(let outcome) = settlement else { return }
        remains.outcome = outcome
        remains.key = self.free(slot)
    }

    /// Makes a slot ready for another flight. Returns the key of the one that was there.
    @inlinable
    mutating func free(_ slot: Int) -> Key? {
        let key = self.slots[slot].vacate(next: self.firstFree)
        self.firstFree = slot
        self.usedCount -= 1
        if self.usedCount == 0, self.slots.count > Self.keptSlots { self.releaseMemory() }
        return key
    }

    /// How many slots an empty table keeps for the flights to come.
    @inlinable
    static var keptSlots: Int { 64 }

    /// Gives the memory of a burst back. The serial goes on counting, so no old identity can fit a new slot.
    @inlinable
    mutating func releaseMemory() {
        self.slots = []
        self.buckets = []
        self.firstFree = -1
    }

    @inlinable
    mutating func hang(_ slot: Int) {
        let bucket = self.bucket(of: self.slots[slot].hash)
        self.slots[slot].next = self.buckets[bucket]
        self.buckets[bucket] = slot
    }

    /// Doubles the buckets, so that a bucket has one flight on average.
    @inlinable
    mutating func rehash() {
        self.buckets = Array(repeating: -1, count: max(8, self.buckets.count * 2))
        for slot in self.slots.indices where self.slots[slot].isOpen {
            self.hang(slot)
        }
    }
}
