#include "cluster/speed.h"

#include <algorithm>
#include <cmath>
#include <tuple>

namespace sollol::cluster {

namespace {

double decayed(double weight, Duration age) {
  return weight * std::exp2(-to_seconds(age) / to_seconds(Estimate::half_life));
}

}  // namespace

bool Estimate::observe(double value, TimePoint now) {
  if (!(value > 0) || !std::isfinite(value)) return false;
  const double seen = std::log(value);
  weight_ = weight(now);
  at_ = now;
  double away = seen - mean_;
  bool changed = false;
  // A single measurement tells nothing of the spread.
  const double most = outlier_spreads * std::max(spread(), weight_ < 2 ? 0.5 : 0.1);
  if (weight_ > 0 && std::abs(away) > most) {
    const int side = away > 0 ? 1 : -1;
    astray_ = astray_ * side > 0 ? astray_ + side : side;
    if (std::abs(astray_) >= static_cast<int>(agree_to_change)) {
      changed = true;
      weight_ = 0;
    } else {
      away = side * most;
    }
  } else {
    astray_ = 0;
  }
  if (weight_ == 0) {
    mean_ = seen;
    variance_ = 0;
    weight_ = 1;
    astray_ = 0;
    return changed;
  }
  const double part = 1 / (std::min(weight_, samples_kept - 1) + 1);
  mean_ += part * away;
  variance_ = (1 - part) * (variance_ + part * away * away);
  weight_ = std::min(weight_ + 1, samples_kept);
  return changed;
}

KeptEstimate Estimate::kept() const noexcept {
  if (!known()) return {};
  return {.value = value(), .spread = std::sqrt(variance_), .samples = weight_, .at = at_};
}

void Estimate::restore(const KeptEstimate& kept) {
  const bool sound = kept.value > 0 && std::isfinite(kept.value) && kept.samples > 0 &&
                     kept.spread >= 0 && std::isfinite(kept.spread);
  if (!sound) return;
  mean_ = std::log(kept.value);
  variance_ = kept.spread * kept.spread;
  weight_ = std::min(kept.samples, samples_kept);
  at_ = kept.at;
  astray_ = 0;
}

double Estimate::value() const noexcept { return known() ? std::exp(mean_) : 0; }

double Estimate::spread() const noexcept { return std::max(std::sqrt(variance_), spread_floor); }

double Estimate::above(double spreads) const noexcept {
  return known() ? std::exp(mean_ + spreads * spread()) : 0;
}

double Estimate::weight(TimePoint now) const noexcept {
  return weight_ > 0 ? decayed(weight_, now - at_) : 0;
}

bool TokenTime::observe(double seconds_per_token, double streams, TimePoint now) {
  if (!(seconds_per_token > 0) || !std::isfinite(seconds_per_token)) return false;
  const double beside = std::max(streams - 1, 0.0);
  const double longer = known() ? seconds_per_token / (alone_s_ * (1 + share_ * beside)) : 1;
  const double most = std::exp(Estimate::outlier_spreads * std::max(error_.spread(), 0.2));
  error_.observe(longer, now);
  const double bounded = std::clamp(longer, 1 / most, most);
  astray_ = bounded == longer ? 0 : astray_ + 1;
  if (astray_ >= static_cast<int>(Estimate::agree_to_change)) {
    *this = {};  // it is another machine now
    error_.observe(1, now);
    take(seconds_per_token, beside);
    return true;
  }
  take(seconds_per_token * bounded / longer, beside);
  return false;
}

void TokenTime::take(double seconds_per_token, double beside) {
  const double expected = known() ? alone_s_ * (1 + share_ * beside) : seconds_per_token;
  const double weight = 1 / (expected * expected);
  constexpr double kept = 1 - 1 / samples_kept;
  sum_ = sum_ * kept + weight;
  x_ = x_ * kept + weight * beside;
  xx_ = xx_ * kept + weight * beside * beside;
  y_ = y_ * kept + weight * seconds_per_token;
  xy_ = xy_ * kept + weight * beside * seconds_per_token;
  solve();
}

/// Least of sum(w (y - a - c x)^2) + g (c - share_guess * a)^2, where c = share * a.
void TokenTime::solve() {
  const double alone = known() ? alone_s_ : y_ / sum_;
  const double guess = guess_weight / (alone * alone);
  const double aa = sum_ + guess * share_guess * share_guess;
  const double ac = x_ - guess * share_guess;
  const double cc = xx_ + guess;
  const double determinant = aa * cc - ac * ac;
  const double a = (y_ * cc - xy_ * ac) / determinant;
  const double c = (xy_ * aa - y_ * ac) / determinant;
  if (!(a > 0) || !std::isfinite(a)) return;
  share_ = std::clamp(c / a, 0.0, share_max);
  // With the share bounded, the best time alone that goes with it.
  const double square = sum_ + 2 * share_ * x_ + share_ * share_ * xx_;
  alone_s_ = (y_ + share_ * xy_) / square;
}

KeptTokenTime TokenTime::kept() const noexcept {
  if (!known()) return {};
  return {.alone_s = alone_s_,
          .share = share_,
          .error = error_.kept(),
          .sums = {sum_, x_, xx_, y_, xy_}};
}

void TokenTime::restore(const KeptTokenTime& kept) {
  const auto usable = [](double sum) { return sum >= 0 && std::isfinite(sum); };
  const bool sound = kept.alone_s > 0 && std::isfinite(kept.alone_s) && kept.share >= 0 &&
                     kept.share <= share_max && std::ranges::all_of(kept.sums, usable) &&
                     kept.sums[0] > 0;
  if (!sound) return;
  error_.restore(kept.error);
  alone_s_ = kept.alone_s;
  share_ = kept.share;
  std::tie(sum_, x_, xx_, y_, xy_) = std::tuple_cat(kept.sums);
  astray_ = 0;
}

}  // namespace sollol::cluster
