#include "http/framing.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

namespace sollol::http {
namespace {

int hex_value(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/// What may not stand in a chunk extension or a trailer.
bool is_control(char c) noexcept {
  return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f;
}

bool is_token_char(char c) noexcept {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         std::string_view("!#$%&'*+-.^_`|~").contains(c);
}

constexpr unsigned size_digits_max = 15;  // 60 bits: no overflow

}  // namespace

BodyWatcher::BodyWatcher(Framing framing) noexcept : framing_(framing) {
  switch (framing.kind) {
    case Framing::Kind::none:
      state_ = State::done;
      break;
    case Framing::Kind::sized:
      left_ = framing.length;
      if (left_ == 0) state_ = State::done;
      break;
    case Framing::Kind::until_close:
      left_ = std::numeric_limits<std::uint64_t>::max();
      break;
    case Framing::Kind::chunked:
      phase_ = Phase::size;
      break;
  }
}

void BodyWatcher::consumed_data(std::uint64_t run) noexcept {
  payload_bytes_ += run;
  unsettled_ += run;
  if (framing_.kind == Framing::Kind::until_close) return;
  left_ -= run;
  if (left_ > 0) return;
  if (framing_.kind == Framing::Kind::sized) {
    state_ = State::done;
  } else {
    phase_ = Phase::data_cr;
  }
}

std::size_t BodyWatcher::feed_line(std::string_view bytes) noexcept {
  std::size_t at = 0;
  while (at < bytes.size() && phase_ != Phase::data && state_ == State::reading) step(bytes[at++]);
  return at;
}

void BodyWatcher::step(char c) noexcept {
  ++unsettled_;
  const auto expect = [&](char wanted, Phase next) { c == wanted ? void(phase_ = next) : fail(); };
  switch (phase_) {
    case Phase::data:
      break;
    case Phase::size: {
      const int value = hex_value(c);
      if (value >= 0) {
        if (++digits_ > size_digits_max) return fail();
        left_ = left_ * 16 + static_cast<unsigned>(value);
      } else if (digits_ == 0) {
        fail();
      } else if (c == ';') {
        phase_ = Phase::extension;
      } else {
        expect('\r', Phase::size_lf);
      }
      break;
    }
    case Phase::extension:
      if (++overhead_ > chunk_overhead_max) return fail();
      if (c == '\r') {
        phase_ = Phase::size_lf;
      } else if (is_control(c)) {
        fail();
      }
      break;
    case Phase::size_lf:
      expect('\n', left_ == 0 ? Phase::trailer : Phase::data);
      digits_ = 0;
      break;
    case Phase::data_cr:
      expect('\r', Phase::data_lf);
      break;
    case Phase::data_lf:
      expect('\n', Phase::size);
      unsettled_ = 0;
      break;
    case Phase::trailer:
      if (c == '\r') {
        phase_ = Phase::last_lf;
      } else if (is_token_char(c)) {
        phase_ = Phase::trailer_name;
      } else {
        fail();
      }
      break;
    case Phase::trailer_name:
      if (++overhead_ > chunk_overhead_max) return fail();
      if (c == ':') {
        phase_ = Phase::trailer_line;
      } else if (!is_token_char(c)) {
        fail();
      }
      break;
    case Phase::trailer_line:
      if (++overhead_ > chunk_overhead_max) return fail();
      if (c == '\r') {
        phase_ = Phase::trailer_lf;
      } else if (is_control(c)) {
        fail();
      }
      break;
    case Phase::trailer_lf:
      expect('\n', Phase::trailer);
      break;
    case Phase::last_lf:
      if (c != '\n') return fail();
      state_ = State::done;
      break;
  }
}

void BodyWatcher::end_of_stream() noexcept {
  if (state_ != State::reading) return;
  state_ = framing_.kind == Framing::Kind::until_close ? State::done : State::bad;
}

void append_chunk_head(std::string& out, std::size_t size) {
  fmt::format_to(std::back_inserter(out), "{:x}\r\n", size);
}

std::string chunk_of(std::string_view payload) {
  std::string chunk;
  chunk.reserve(payload.size() + 20);
  append_chunk_head(chunk, payload.size());
  chunk.append(payload).append("\r\n");
  return chunk;
}

}  // namespace sollol::http
