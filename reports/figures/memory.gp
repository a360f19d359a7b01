set ylabel 'tensors and workspace (GiB)' noenhanced
