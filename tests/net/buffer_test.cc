#include "net/buffer.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <string>

namespace sollol::net {
namespace {

void put(InputBuffer& buffer, std::string_view text) {
  const std::span<char> room = buffer.prepare(text.size());
  ASSERT_GE(room.size(), text.size());
  std::ranges::copy(text, room.begin());
  buffer.commit(text.size());
}

TEST(InputBuffer, HoldsNoMemoryUntilUsedAndAfterRelease) {
  InputBuffer buffer;
  EXPECT_EQ(buffer.capacity(), 0u);
  put(buffer, "abc");
  buffer.release();
  EXPECT_EQ(buffer.view(), "abc");  // not empty: kept
  buffer.consume(3);
  buffer.release();
  EXPECT_EQ(buffer.capacity(), 0u);
  put(buffer, "again");
  EXPECT_EQ(buffer.view(), "again");
}

TEST(InputBuffer, MakesRoomInPlaceBeforeItGrows) {
  InputBuffer buffer;
  put(buffer, std::string(100, 'a'));
  buffer.consume(90);
  const std::size_t capacity = buffer.capacity();
  put(buffer, std::string(80, 'b'));
  EXPECT_EQ(buffer.capacity(), capacity);
  EXPECT_EQ(buffer.view(), std::string(10, 'a') + std::string(80, 'b'));
}

TEST(InputBuffer, IsFollowedByReadableBytes) {
  InputBuffer buffer;
  const std::span<char> room = buffer.prepare(10);
  std::ranges::fill(room, 'x');
  buffer.commit(room.size());
  std::memset(room.data() + room.size(), 0,
              InputBuffer::padding);  // the address sanitizer would object
  EXPECT_EQ(buffer.size(), room.size());
}

RC_GTEST_PROP(AnyUse, KeepsTheBytesInOrder, ()) {
  InputBuffer buffer;
  std::string want;
  const int steps = *rc::gen::inRange(0, 60);
  for (int i = 0; i < steps; ++i) {
    switch (*rc::gen::inRange(0, 3)) {
      case 0: {
        const auto text = *rc::gen::arbitrary<std::string>();
        put(buffer, text);
        want += text;
        break;
      }
      case 1: {
        const auto bytes = *rc::gen::inRange<std::size_t>(0, want.size() + 1);
        buffer.consume(bytes);
        want.erase(0, bytes);
        break;
      }
      default:
        buffer.release();
    }
    RC_ASSERT(buffer.view() == want);
    RC_ASSERT(buffer.empty() == want.empty());
  }
}

}  // namespace
}  // namespace sollol::net
