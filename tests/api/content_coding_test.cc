#include "api/content_coding.h"

#include <gtest/gtest.h>
#include <zstd.h>

#include <array>
#include <string>

namespace sollol::api {
namespace {

std::string packed(std::string_view text) {
  std::string out(ZSTD_compressBound(text.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), text.data(), text.size(), 3));
  return out;
}

Result<std::string> unpacked(std::string_view bytes) {
  ZstdReader reader(bytes);
  std::string text;
  std::array<char, 1000> room;
  while (true) {
    const auto got = reader.read(room);
    if (!got) return std::unexpected(got.error());
    if (*got == 0) return text;
    text.append(room.data(), *got);
  }
}

TEST(BodyCoding, ZstdIsUnderstoodWhereOllamaUnderstandsIt) {
  EXPECT_EQ(body_coding("", Operation::chat), BodyCoding::plain);
  EXPECT_EQ(body_coding("identity", Operation::chat), BodyCoding::plain);
  EXPECT_EQ(body_coding("ZSTD", Operation::chat_completions), BodyCoding::zstd);
  EXPECT_EQ(body_coding("zstd", Operation::messages), BodyCoding::zstd);
  EXPECT_EQ(body_coding("zstd", Operation::chat), BodyCoding::unknown);
  EXPECT_EQ(body_coding("gzip", Operation::chat_completions), BodyCoding::unknown);
  EXPECT_EQ(body_coding("zstd, zstd", Operation::chat_completions), BodyCoding::unknown);
}

TEST(ZstdReader, GivesBackWhatWasPacked) {
  const std::string text(100'000, 'x');
  EXPECT_EQ(unpacked(packed(text)).value(), text);
  EXPECT_EQ(unpacked(packed("")).value(), "");
  EXPECT_EQ(unpacked(packed("a") + packed("b")).value(), "ab");
}

TEST(ZstdReader, RefusesWhatIsCutOrNoZstd) {
  const std::string whole = packed(std::string(10'000, 'y') + "end");
  EXPECT_FALSE(unpacked(whole.substr(0, whole.size() - 1)).has_value());
  EXPECT_FALSE(unpacked("{\"model\":\"m\"}").has_value());
  EXPECT_FALSE(unpacked("").has_value());
}

TEST(ZstdReader, RefusesAHugeWindow) {
  // A frame header that asks for a window of 1 GiB, without a content size.
  const std::string head("\x28\xb5\x2f\xfd\x00\xa0", 6);
  EXPECT_FALSE(unpacked(head + std::string("\x01\x00\x00", 3)).has_value());
}

}  // namespace
}  // namespace sollol::api
