set ylabel 'tokens per second' noenhanced
value_format = '%.0s%c'
