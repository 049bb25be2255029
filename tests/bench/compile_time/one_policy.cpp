// SPDX-License-Identifier: MIT
// Continues a sentence as examples/hello.cpp does, by one policy instead of the best of a ladder.
#include <bitnet/bitnet.hpp>

#include <cstdio>
#include <string_view>

#if defined(__x86_64__)
using one_policy = bitnet::policy<bitnet::isa::avx2>;
#else
using one_policy = bitnet::native;
#endif

int main(int, char** argv) {
    const auto model = bitnet::model<one_policy>::open(argv[1]);
    if (!model) {
        return 1;
    }
    auto session = bitnet::session<one_policy>::open(*model, {.context = 100, .threads = 2});
    auto choose = bitnet::sampler::open({.seed = 4}, model->parameters().vocabulary);
    const auto prompt = model->text().encode("<|begin_of_text|>Once upon a time", {.parse_special = true});
    if (!session || !choose || !prompt || !session->feed(*prompt)) {
        return 1;
    }
    while (const auto token = session->next(*choose)) {
        const std::string_view bytes = model->text().bytes_of(*token);
        std::printf("%.*s", static_cast<int>(bytes.size()), bytes.data());
    }
}
