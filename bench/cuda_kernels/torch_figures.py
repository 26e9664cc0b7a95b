# The figures of cuBLAS (through PyTorch) and of PyTorch's flash attention on the shapes of bench/cuda_kernels.ts.
import torch

def median(run, replays=7, inner=10):
    run()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(inner):
            run()
    times = []
    for _ in range(replays):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record(); graph.replay(); end.record(); torch.cuda.synchronize()
        times.append(begin.elapsed_time(end) / inner * 1000)
    return sorted(times)[len(times) // 2]

print(torch.cuda.get_device_name(), "torch", torch.__version__)
for T, N, K in [(4096, 4096, 4096), (2048, 4096, 1024), (2048, 6144, 1024), (2048, 1024, 3072), (2048, 12288, 4096), (2048, 24576, 4096), (2048, 4096, 12288),
                (512, 4096, 1024), (512, 6144, 1024), (512, 1024, 3072), (512, 6144, 4096), (512, 24576, 4096), (256, 4096, 4096), (256, 24576, 4096)]:
    a = torch.randn(T, K, device="cuda", dtype=torch.bfloat16) * 0.05
    w = torch.randn(N, K, device="cuda", dtype=torch.bfloat16) * 0.05
    us = median(lambda: torch.matmul(a, w.t()))
    print(f"cublas {T}x{N}x{K}: {us:.1f} us {2 * T * N * K / us / 1e6:.0f} TFLOP/s")
for N, K in [(4096, 4096), (6144, 4096), (24576, 4096), (4096, 12288), (1024, 2048), (6144, 1024), (1024, 3072), (151936, 1024)]:
    copies = max(1, min(16, int(1e9 / (2 * N * K))))
    ws = [torch.randn(N, K, device="cuda", dtype=torch.bfloat16) * 0.05 for _ in range(copies)]
    for T in [16, 32, 64, 128]:
        a = torch.randn(T, K, device="cuda", dtype=torch.bfloat16)
        def run():
            for w in ws:
                torch.matmul(a, w.t())
        us = median(run, inner=1) / copies
        print(f"cublas {T}x{N}x{K}: {us:.1f} us {2 * N * K / us / 1e3:.0f} GB/s")
for H, S in [(16, 2048), (16, 8192), (32, 2048), (32, 8192)]:
    q = torch.randn(1, H, S, 128, device="cuda", dtype=torch.float16)
    us = median(lambda: torch.nn.functional.scaled_dot_product_attention(q, q, q, is_causal=True), inner=2)
    print(f"sdpa {H} heads {S}: {us:.0f} us {2 * S * S * H * 128 / us / 1e6:.0f} TFLOP/s")
x = torch.empty(1 << 29, device="cuda", dtype=torch.float32); y = torch.empty_like(x)
us = median(lambda: y.copy_(x), inner=2)
print(f"copy: {2 * 4 * x.numel() / us / 1e3:.0f} GB/s read and written")
us = median(lambda: x.sum(), inner=2)
print(f"sum: {4 * x.numel() / us / 1e3:.0f} GB/s read")
