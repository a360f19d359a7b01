set ylabel 'TFLOP/s (compulsory flops)' noenhanced
reference = gemm_tflops
reference_text = sprintf('%s GEMM %.0f', dtype_text, gemm_tflops)
