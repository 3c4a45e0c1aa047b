import os, sys
out = []
for n in range(1, COUNT + 1):
    if n % 1000 == 0: out.append('\x1b[31mline %d\x1b[0m\x1b[2J\x1b[5;5H\n' % n)
    elif n % 777 == 0:
        out.append('line ')
        os.write(1, ''.join(out).encode())
        out = ['%d\n' % n]
    else: out.append('line %d\n' % n)
    if len(out) > 500:
        os.write(1, ''.join(out).encode())
        out = []
os.write(1, ''.join(out).encode())
