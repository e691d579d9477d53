#include "api/content_coding.h"

#include <fmt/format.h>
#include <zstd.h>

#include <bit>

#include "api/ascii.h"

namespace sollol::api {
namespace {

bool takes_zstd(Operation operation) noexcept {
  switch (operation) {
    case Operation::chat_completions:
    case Operation::completions:
    case Operation::openai_embeddings:
    case Operation::responses:
    case Operation::messages:
      return true;
    default:
      return false;
  }
}

Error not_zstd(std::string_view why) {
  return bad_input(fmt::format("the request body cannot be unpacked as zstd: {}", why));
}

}  // namespace

BodyCoding body_coding(std::string_view content_encoding, Operation operation) noexcept {
  if (content_encoding.empty() || equals_any_case(content_encoding, "identity"))
    return BodyCoding::plain;
  const bool zstd = equals_any_case(content_encoding, "zstd") && takes_zstd(operation);
  return zstd ? BodyCoding::zstd : BodyCoding::unknown;
}

struct ZstdReader::Impl {
  ZSTD_DCtx* context = ZSTD_createDCtx();
  ZSTD_inBuffer in{};
  bool inside_frame = true;
  ~Impl() { ZSTD_freeDCtx(context); }
};

ZstdReader::ZstdReader(std::string_view packed) : impl_(std::make_unique<Impl>()) {
  impl_->in = {packed.data(), packed.size(), 0};
  if (impl_->context == nullptr) return;
  ZSTD_DCtx_setParameter(impl_->context, ZSTD_d_windowLogMax,
                         std::countr_zero(static_cast<std::size_t>(window_max)));
}

ZstdReader::~ZstdReader() = default;

Result<std::size_t> ZstdReader::read(std::span<char> room) {
  if (impl_->context == nullptr) return std::unexpected(not_zstd("out of memory"));
  ZSTD_outBuffer out{room.data(), room.size(), 0};
  while (out.pos == 0) {
    const bool more = impl_->in.pos < impl_->in.size;
    if (!more && !impl_->inside_frame) return std::size_t{0};
    const std::size_t before = impl_->in.pos;
    const std::size_t left = ZSTD_decompressStream(impl_->context, &out, &impl_->in);
    if (ZSTD_isError(left)) return std::unexpected(not_zstd(ZSTD_getErrorName(left)));
    impl_->inside_frame = left != 0;
    if (out.pos == 0 && impl_->in.pos == before && impl_->inside_frame)
      return std::unexpected(not_zstd("it is cut off"));
  }
  return out.pos;
}

}  // namespace sollol::api
