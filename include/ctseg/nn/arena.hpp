// Where values live in one block of memory: what is alive at the same time lies apart, as close together as can be.
#pragma once
#include <algorithm>
#include <vector>

#include "../core/shape.hpp"

namespace ctseg {

/// Memory with a life: from the step that first writes it to the step that last touches it.
/// into    it is part of that slot: `at` bytes behind its begin, in rows of its pitch
/// behind  it begins `at` bytes behind that slot, which its last reader writes while it reads: there the two may overlap
struct Slot {
  Index bytes = 0, offset = 0, at = 0, pitch = 0;
  int first = -1, last = -1, into = -1, behind = -1;

  bool used() const { return last >= 0; }
  bool alive(int step) const { return used() && first <= step && step <= last; }
  bool placed_alone() const { return used() && into < 0 && bytes > 0; }
};

class Arena {
 public:
  std::vector<Slot> slots;

  Slot& operator[](int slot) { return slots[static_cast<std::size_t>(slot)]; }
  const Slot& operator[](int slot) const { return slots[static_cast<std::size_t>(slot)]; }

  void touch(int slot, int step, Index bytes) {
    Slot& s = (*this)[slot];
    s.bytes = bytes;
    s.first = s.used() ? std::min(s.first, step) : step;
    s.last = std::max(s.last, step);
  }
  /// Makes `part` a range of the rows of `whole`, which lives as long as any of its parts.
  void put(int part, int whole, Index at) {
    (*this)[part].into = whole;
    (*this)[part].at = at;
    for (int p = part; (*this)[p].into >= 0; p = (*this)[p].into) {
      Slot& outer = (*this)[(*this)[p].into];
      outer.first = std::min(outer.first, (*this)[p].first);
      outer.last = std::max(outer.last, (*this)[p].last);
    }
  }

  /// Bytes alive at every step; no packing can do with less than the most of them.
  std::vector<Index> alive(int steps) const {
    std::vector<Index> sum(static_cast<std::size_t>(steps));
    for (const Slot& s : slots)
      if (s.placed_alone())
        for (int t = s.first; t <= s.last; ++t) sum[static_cast<std::size_t>(t)] += s.bytes - shared(s, t);
    return sum;
  }

  /// Gives every slot its offset; returns the size of the arena. `bound`: no arena can be smaller (alive()).
  Index pack(Index bound) {
    std::vector<Group> groups = make_groups();
    const auto bytes = [](const Group& a, const Group& b) { return a.bytes > b.bytes; };
    const auto area = [](const Group& a, const Group& b) { return a.area > b.area; };
    const auto begin = [](const Group& a, const Group& b) { return a.first < b.first; };
    Index least = -1;
    std::vector<Index> offsets;
    const auto attempt = [&](auto before) {   // what sticks out in the end comes first in the next try
      std::stable_sort(groups.begin(), groups.end(), before);
      for (int tries = 0; tries < 16 && least != bound; ++tries) {
        const Index size = place(groups);
        if (least < 0 || size < least) {
          least = size;
          offsets.clear();
          for (const Slot& s : slots) offsets.push_back(s.offset);
        }
        const auto top = std::find_if(groups.begin(), groups.end(), [&](const Group& g) { return g.end() == size; });
        if (top != groups.end()) std::rotate(groups.begin(), top, top + 1);
      }
    };
    attempt(bytes), attempt(area), attempt(begin);   // none is the best for every network
    for (std::size_t i = 0; i < slots.size(); ++i) slots[i].offset = offsets[i];
    for (Slot& s : slots)
      if (s.into >= 0) {
        Index at = s.at;
        int whole = s.into;
        for (; (*this)[whole].into >= 0; whole = (*this)[whole].into) at += (*this)[whole].at;
        s.offset = (*this)[whole].offset + at;
      }
    return least;
  }
  /// Of the slot whose rows it lies in.
  int whole_of(int slot) const {
    while ((*this)[slot].into >= 0) slot = (*this)[slot].into;
    return slot;
  }

 private:
  /// Slots that lie at fixed distances from each other; most are one slot.
  struct Group {
    std::vector<std::pair<Slot*, Index>> members;   // with their distance from the group's begin
    Index bytes = 0, area = 0;
    int first = 0;
    Index end() const { return members[0].first->offset - members[0].second + bytes; }
  };

  /// What a slot has in common, at a step, with the one it lies behind.
  Index shared(const Slot& s, int step) const {
    if (s.behind < 0 || !(*this)[s.behind].alive(step)) return 0;
    return std::clamp<Index>((*this)[s.behind].bytes - s.at, 0, s.bytes);
  }
  std::vector<Group> make_groups() {
    std::vector<Group> groups;
    std::vector<int> group_of(slots.size(), -1);
    for (int i = 0; i < static_cast<int>(slots.size()); ++i) {
      if (!(*this)[i].placed_alone()) continue;
      Index distance = 0;
      int root = i;
      for (; (*this)[root].behind >= 0; root = (*this)[root].behind) distance += (*this)[root].at;
      int& group = group_of[static_cast<std::size_t>(root)];
      if (group < 0) group = static_cast<int>(groups.size()), groups.push_back({});
      Group& g = groups[static_cast<std::size_t>(group)];
      Slot& s = (*this)[i];
      g.first = g.members.empty() ? s.first : std::min(g.first, s.first);
      g.members.push_back({&s, distance});
      g.bytes = std::max(g.bytes, distance + s.bytes);
      g.area += s.bytes * (s.last - s.first + 1);
    }
    return groups;
  }
  /// In the order given, each at the lowest place that is free during its whole life.
  static Index place(const std::vector<Group>& groups) {
    Index size = 0;
    std::vector<const Slot*> placed;   // by offset
    for (const Group& g : groups) {
      Index base = 0;
      for (bool moved = true; moved;) {
        moved = false;
        for (const Slot* other : placed)
          for (const auto& [s, distance] : g.members)
            if (s->first <= other->last && other->first <= s->last && base + distance < other->offset + other->bytes &&
                other->offset < base + distance + s->bytes)
              base = other->offset + other->bytes - distance, moved = true;
        if (g.members.size() == 1) break;   // the others come by offset: none is met again
      }
      for (const auto& [s, distance] : g.members) {
        s->offset = base + distance;
        size = std::max(size, s->offset + s->bytes);
        const auto below = [](const Slot* a, const Slot* b) { return a->offset < b->offset; };
        placed.insert(std::upper_bound(placed.begin(), placed.end(), s, below), s);
      }
    }
    return size;
  }
};

}   // namespace ctseg
